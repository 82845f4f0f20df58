"""The pieces of a growing text are always a prefix of the final answer, and little is held back."""

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.engine.text.stopping import Growth, StopStrings
from swarmeval.engine.text.tokens import Detokenizer
from tests.support import tiny_model

TOKENIZER = tiny_model.tokenizer()
tokens = st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40)  # including partial characters
stops = st.lists(st.text(min_size=1, max_size=4), max_size=2).map(tuple)


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def grown(output: list[int], stops: tuple[str, ...] = ()) -> tuple[list[str], str]:
    """(the pieces before the stop string, the answer's text)."""
    reader = Detokenizer(TOKENIZER, ids_of("def f():"))
    watch = StopStrings(reader, stops)
    growth = Growth(reader, watch)
    pieces: list[str] = []
    for count in range(1, len(output) + 1):
        if watch.reached(output[:count]):
            return pieces, watch.cut(reader.text(output[:count]))[0]
        pieces.append(growth.more(output[:count]))
    return pieces, reader.text(output)


@given(tokens, stops)
def test_pieces_are_a_prefix_of_the_answer(output: list[int], stops: tuple[str, ...]) -> None:
    pieces, text = grown(output, stops)
    assert text.startswith("".join(pieces))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=40))
def test_whole_characters_are_streamed_as_they_come(text: str) -> None:
    pieces, whole = grown(ids_of(text))
    assert "".join(pieces) == whole == text


def test_text_that_may_start_a_stop_string_is_held_back() -> None:
    pieces, text = grown(ids_of("a\nda\nb\ndef g"), ("\ndef",))
    assert [piece for piece in pieces if piece] == ["a", "\nda", "\nb"]
    assert text == "a\nda\nb"
