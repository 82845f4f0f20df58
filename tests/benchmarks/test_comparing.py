"""The benchmarks' arithmetic: bf16 steps, first differences, shares, waste, medians."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks import scaling
from benchmarks.comparing import Deviation, Ids, bf16_step, first_difference, ids_of, letters, same_share
from benchmarks.fidelity import Reference, weighed
from swarmeval.requests import Reply
from tests.support import tiny_model

TOKENIZER = tiny_model.tokenizer()


@given(st.floats(1e-30, 1e30))
def test_a_step_is_the_distance_to_the_next_number_that_bf16_holds(value: float) -> None:
    held = torch.tensor(value).bfloat16()
    following = (held.view(torch.int16) + 1).view(torch.bfloat16)
    assert bf16_step(-float(held)) == bf16_step(float(held)) == float(following.float() - held.float())


def test_logits_between_16_and_32_are_an_eighth_apart() -> None:
    assert [bf16_step(value) for value in (15.9, 16.0, 31.9, 32.0, 0.0)] == [0.0625, 0.125, 0.125, 0.25, 0.0]


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), max_size=6))
def test_everything_before_the_first_difference_is_equal(found: list[int], wanted: list[int]) -> None:
    place = first_difference(found, wanted)
    if place is None:
        assert found == wanted
    else:
        assert found[:place] == wanted[:place]
        assert found[place : place + 1] != wanted[place : place + 1]


def test_a_share_is_of_the_jobs_which_must_be_the_same() -> None:
    first = {"0": (1, 2), "1": (3,), "2": (), "3": (4,)}
    assert same_share({**first, "1": (3, 3)}, first) == 0.75
    with pytest.raises(ValueError, match=r"^1 replies cannot be compared with 4: the jobs are not the same$"):
        same_share({"0": (1, 2)}, first)


def reply(text: str, tokens: int) -> Reply:
    return Reply("0/t/0/0", text, 1, tokens, 0.0, 0.0, 0.0, "length")


@given(st.lists(st.integers(0, 200_000)))
def test_letters_encode_every_id(ids: list[int]) -> None:
    with letters(TOKENIZER):
        text = TOKENIZER.decode(ids, skip_special_tokens=True)
    assert ids_of(reply(text, len(ids))) == tuple(ids)


def test_after_letters_the_tokenizer_decodes_as_before() -> None:
    with letters(TOKENIZER):
        pass
    assert TOKENIZER.decode(TOKENIZER("def f")["input_ids"], skip_special_tokens=True) == "def f"
    with pytest.raises(RuntimeError, match=r"^0/t/0/0: 2 tokens, but the text does not encode their ids$"):
        ids_of(reply("ab", 2))


def test_a_deviation_adds_up() -> None:
    deviation = Deviation()
    deviation.add(torch.tensor([[1.0, 5.0]]), torch.tensor([[1.0, 2.0]]))
    deviation.add(torch.tensor([[0.0, 4.0]]), torch.tensor([[4.0, 0.0]]))
    assert deviation.summary() == {"rms": math.sqrt((9 + 16 + 16) / 4), "largest": 4.0, "same_best": 0.5, "places": 2}


class GivenLogits(Reference):
    """A reference with given fp32 logits."""

    def __init__(self, exact: list[float]) -> None:
        self.tokenizer = TOKENIZER
        self.exact = None
        self._exact = torch.tensor([exact])

    def logits(self, model: object, prompt: Ids, reply: Ids) -> Tensor:
        return self._exact


@pytest.mark.parametrize(("ours", "excused"), [(1, True), (2, True), (3, False)])
def test_rounding_excuses_a_gap_of_one_step_and_no_more(ours: int, excused: bool) -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [20.0, 20.0, 19.875, 19.75]])  # the bf16 step at 20 is 0.125
    found = weighed("t", 3, (9,), (7, ours, 5), (7, 0, 6), logits, GivenLogits([20.0, 20.5, 20.5, 20.5]))
    assert (found.place, found.step, found.gap_bf16, found.excused) == (
        1,
        0.125,
        20.0 - float(logits[1, ours]),
        excused,
    )
    assert found.gap_fp32 == -0.5


def test_a_reply_without_an_end_of_text_token_is_never_excused() -> None:
    assert not weighed("t", 1, (9,), (7,), (7, 0), torch.zeros(2, 4), GivenLogits([0.0] * 4)).excused


def test_static_batches_wait_for_their_longest_reply() -> None:
    assert scaling.static_waste([4, 2, 3, 3, 1], rows=2) == pytest.approx(1 - 13 / (8 + 6 + 1))
    assert scaling.static_waste([5, 5, 5], rows=2) == 0


def test_each_round_starts_with_another_contestant() -> None:
    assert [scaling.in_turn("abc", number) for number in (0, 1, 3)] == [list("abc"), list("bca"), list("abc")]


def test_ratios_are_taken_within_a_round() -> None:
    rounds = [{"one": {"x": x}, "two": {"x": y}} for x, y in ((1.0, 2.0), (10.0, 30.0), (2.0, 8.0))]
    found = scaling.compared(rounds)
    assert found["medians"] == {"one": {"x": 2.0}, "two": {"x": 8.0}}
    assert found["ratios"] == {"two": {"x": 3.0}}
