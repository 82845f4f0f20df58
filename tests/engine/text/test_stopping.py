"""Stop strings, end-of-text tokens, and decoding of tokens to text."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.engine.text.stopping import StopStrings, eos_ids
from swarmeval.engine.text.tokens import Detokenizer, PromptError, chat_ids, text_ids
from tests.support import tiny_model

TOKENIZER = tiny_model.tokenizer()


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def cut_where_it_stops(text: str, stops: tuple[str, ...], prompt: str = "x") -> tuple[str, bool]:
    """Feed the text token by token; return the kept text and whether it stopped."""
    reader = Detokenizer(TOKENIZER, ids_of(prompt))
    watch = StopStrings(reader, stops)
    output: list[int] = []
    for token in ids_of(text):
        output.append(token)
        if watch.reached(output):
            return watch.cut(reader.text(output))[0], True
    return reader.text(output), False


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("  return 1\ndef g():", ("\ndef", "\nclass"), "  return 1"),
        ("a = 1\nprint(a)", ("\nprint",), "a = 1"),
        ("naïve → done", ("→",), "naïve "),
        ("naïve 😀!", ("😀",), "naïve "),
        ("both here", ("h h", "bo"), ""),
        ("nothing to see", ("\ndef",), None),
    ],
)
def test_text_ends_before_the_first_stop_string(text: str, stops: tuple[str, ...], kept: str | None) -> None:
    assert cut_where_it_stops(text, stops) == ((text, False) if kept is None else (kept, True))


def test_a_stop_string_that_begins_in_the_prompt_does_not_count() -> None:
    assert cut_where_it_stops("ef g", ("\ndef",), prompt="x\nd") == ("ef g", False)


# A partial character decodes to U+FFFD until its other bytes arrive, so U+FFFD cannot be a stop string.
STOP = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), min_size=1, max_size=4)


@given(text=st.text(max_size=40), stop=STOP)
def test_a_stop_string_is_found_wherever_it_is(text: str, stop: str) -> None:
    expected = (text[: text.index(stop)], True) if stop in text else (text, False)
    assert cut_where_it_stops(text, (stop,)) == expected


def test_special_tokens_are_not_part_of_the_text() -> None:
    assert Detokenizer(TOKENIZER, ids_of("x")).text([*ids_of("a"), 2, *ids_of("b")]) == "ab"


def test_leading_spaces_survive_a_tokenizer_that_drops_them() -> None:
    """Sentencepiece tokenizers do that: the first decoded token loses its space."""

    class Stripping:
        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join([" the", " cat", " sat"][i] for i in ids).removeprefix(" ")

    assert Detokenizer(Stripping(), [0, 1]).text([2]) == " sat"


def test_every_eos_id_of_model_and_tokenizer_ends_a_text() -> None:
    model = tiny_model.model()
    assert eos_ids(model, TOKENIZER) == {1, 2}
    assert eos_ids(model, SimpleNamespace(eos_token_id=5)) == {1, 2, 5}
    model.generation_config.eos_token_id = None
    assert eos_ids(model, SimpleNamespace(eos_token_id=None)) == frozenset()


def test_a_chat_has_one_bos_and_ends_with_the_generation_prompt() -> None:
    ids = chat_ids(TOKENIZER, [{"role": "user", "content": "hi"}])
    assert ids.count(0) == 1
    assert TOKENIZER.decode(ids) == "<bos><user>hi\n<assistant>"


def test_raw_text_gets_the_special_tokens_that_the_tokenizer_adds() -> None:
    assert text_ids(TOKENIZER, "hi") == (0, *ids_of("hi"))


def test_a_chat_without_a_template_is_refused() -> None:
    with pytest.raises(PromptError) as error:
        chat_ids(tiny_model.tokenizer(template=None), [{"role": "user", "content": "hi"}])
    assert str(error.value) == "the model has no chat template; set prompt_mode: completion"


def test_a_chat_that_the_template_rejects_is_refused() -> None:
    picky = tiny_model.tokenizer("{{ raise_exception('no system role') }}")
    with pytest.raises(PromptError) as error:
        chat_ids(picky, [{"role": "user", "content": "hi"}])
    assert str(error.value) == "the model's chat template rejects the messages: no system role"
