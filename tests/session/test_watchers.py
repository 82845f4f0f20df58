"""The message about a loaded replica distinguishes its load time from the time until it was ready."""

import pytest
from msgspec import structs

from swarmeval.session.watchers import loaded_words
from tests.support.echo_fleet import INFO


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("hf", "nf4, 4 rows; weights loaded in 4.2 s, ready 58.5 s into the session"),
        ("vllm", "nf4, 4 rows; vLLM started in 4.2 s, ready 58.5 s into the session"),
        ("endpoint", "nf4, 4 rows; connected to the server in 4.2 s, ready 58.5 s into the session"),
        ("scripted", "nf4, 4 rows; ready 58.5 s into the session"),
    ],
)
def test_the_time_of_the_weights_and_the_time_until_ready_are_told_apart(engine: str, words: str) -> None:
    info = structs.replace(INFO, engine=engine, weights="nf4", load_s=4.2)
    assert loaded_words(info, 58.5) == words
