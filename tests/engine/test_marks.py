"""Marks say what the first tokens of a reply completed, cut at a stop string, and only where they are asked for."""

from collections.abc import Sequence

from msgspec import structs

from swarmeval.engine.text.tokens import marks
from swarmeval.requests import Reply, Sampling
from tests.support.tiny_engine import GREEDY, engine, requests


def decoded(output: Sequence[int]) -> str:
    """Tokens are bytes of UTF-8."""
    return bytes(output).decode(errors="replace")


def test_a_character_counts_once_its_last_token_is_there() -> None:
    output = list("aé€z".encode())  # 1, 2, 3 and 1 bytes
    assert marks(output, decoded) == ((1, 1), (2, 1), (4, 2))
    assert marks(output[:4], decoded) == ((1, 1), (2, 1))
    assert marks([], decoded) == ()


def test_thoughts_and_what_follows_a_stop_string_complete_nothing() -> None:
    def answer(output: Sequence[int]) -> str:
        return decoded(output).partition("thoughts,")[2].partition("#")[0]

    assert marks(list(b"thoughts,text#x  "), answer) == ((1, 0), (2, 0), (4, 0), (8, 0), (16, 4))


def answered(sampling: Sampling, asked: bool) -> list[Reply]:
    found = engine(rows=4)
    for request in requests(4, sampling):
        found.submit(structs.replace(request, marks=asked))
    replies: list[Reply] = []
    while found.busy():
        replies += [answer for answer in found.step() if isinstance(answer, Reply)]
    return sorted(replies, key=lambda reply: reply.job_id)


def test_the_engine_marks_the_replies_of_requests_that_ask_for_it() -> None:
    for marked, plain in zip(answered(GREEDY, True), answered(GREEDY, False), strict=True):
        assert (plain.marks, marked.text) == ((), plain.text)
        assert [tokens for tokens, _ in marked.marks] == [1, 2, 4, 8, 16][: len(marked.marks)]
        assert marked.output_tokens <= 2 * marked.marks[-1][0]
        characters = [at for _, at in marked.marks]
        assert characters == sorted(characters)
        assert characters[-1] <= len(marked.text)


def test_a_reply_with_a_shorter_limit_is_the_prefix_at_that_mark() -> None:
    short = answered(structs.replace(GREEDY, max_new_tokens=8), False)
    for whole, prefix in zip(answered(GREEDY, True), short, strict=True):
        marked = whole.text[: dict(whole.marks)[8]]
        assert prefix.text.startswith(marked)
        assert set(prefix.text[len(marked) :]) <= {"\N{REPLACEMENT CHARACTER}"}  # bytes of an unfinished character
