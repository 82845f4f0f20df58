"""The slots stay within the planned tokens: rows that would make the rectangle too large wait."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from swarmeval.engine.graphs import Graphs
from swarmeval.engine.separate import SeparateDecoder
from swarmeval.engine.slots import SlotDecoder
from swarmeval.engine.steps import BLOCK
from swarmeval.requests import Request
from tests.support import tiny_model
from tests.support.decoder_comparison import PROMPTS, admit
from tests.support.graph_recorder import Tape
from tests.support.tiny_engine import GREEDY, WARM, engine, requests, texts

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = tiny_model.model()
LONG, SHORT = PROMPTS[3], PROMPTS[1]  # 130 and 9 tokens


def held(decoder: SlotDecoder) -> int:
    """The tokens for which the decoder has allocated slots."""
    return decoder.layers[0].keys.shape[0] * decoder.layers[0].keys.shape[2] if decoder.layers else 0


@torch.inference_mode()
def test_a_row_that_makes_the_rectangle_too_large_must_wait() -> None:
    decoder = SlotDecoder(MODEL, 64, share=False, tokens=16 * BLOCK)
    admit(decoder, [SHORT] * 10)
    assert decoder.join(LONG, 40) is None  # 11 rows of two blocks
    for row in (9, 8):
        decoder.evict(row)
    assert decoder.join(LONG, 40) is None
    decoder.evict(7)
    assert decoder.join(LONG, 40) == len(LONG)
    assert decoder.join(SHORT, 40) is None  # any row is as long as the longest


@torch.inference_mode()
def test_rows_that_join_together_count_together() -> None:
    decoder = SlotDecoder(MODEL, 64, share=False, tokens=3 * BLOCK)
    assert [decoder.join(SHORT, 40) for _ in range(4)] == [9, 0, 0, None]


@torch.inference_mode()
def test_a_decoder_without_rows_accepts_any_row() -> None:
    decoder = SlotDecoder(MODEL, 64, share=False, tokens=10)
    admit(decoder, [LONG])
    decoder.evict(0)
    admit(decoder, [LONG])
    decoder.clear()
    admit(decoder, [LONG])


@torch.inference_mode()
def test_forks_and_longer_answers_stay_within_the_plan_too() -> None:
    decoder = SlotDecoder(MODEL, 64, share=False, tokens=2 * BLOCK)
    admit(decoder, [SHORT])
    decoder.decode([5])
    assert decoder.fork(0, 9, 40)
    assert decoder.fork(0, 9, 40)  # one more may stand beside the row that it ends
    assert not decoder.fork(0, 9, 40)
    assert not decoder.extend(0, 300)
    for row in (2, 1):
        decoder.evict(row)
    assert decoder.extend(0, 300)
    assert not decoder.fork(0, 9, 40)


@torch.inference_mode()
def test_what_rows_share_counts_once() -> None:
    alone, shared = (SlotDecoder(MODEL, 64, share, tokens=800) for share in (False, True))
    prompt = tuple(range(3, 203))
    for decoder in (alone, shared):
        admit(decoder, [prompt] * 3, new_tokens=15)
    assert alone.join(prompt, 15) is None
    assert shared.join(prompt, 15) == 0


@pytest.mark.parametrize("recorded", [False, True])
@torch.inference_mode()
def test_a_long_row_does_not_lengthen_slots_that_are_no_longer_used(recorded: bool) -> None:
    """Rows times length would otherwise become the most rows ever times the longest row ever."""
    plan = 16 * BLOCK
    decoder = SlotDecoder(MODEL, 64, False, Graphs(Tape().begin) if recorded else None, tokens=plan)
    separate = SeparateDecoder(MODEL)
    for each in (decoder, separate):
        admit(each, [SHORT] * 15)
    assert held(decoder) == plan
    for row in reversed(range(3, 15)):
        decoder.evict(row)
        separate.evict(row)
    for each in (decoder, separate):
        admit(each, [tuple(3 + place % 280 for place in range(400))], new_tokens=100)
    found, wanted = decoder.decode([5, 6, 7, 8]), separate.decode([5, 6, 7, 8])
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4)
    assert held(decoder) <= plan


class Measured(SlotDecoder):
    """Notes the largest number of tokens for which it had slots, and whether a row had to wait."""

    largest = 0
    refusals = 0

    def join(self, prompt: tuple[int, ...], new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        cost = super().join(prompt, new_tokens, answer)
        self.refusals += cost is None
        return cost

    def decode(self, tokens: Sequence[int]) -> Tensor:
        logits = super().decode(tokens)
        self.largest = max(self.largest, held(self))
        return logits


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"share": True}, {"share": False, "step": Graphs(Tape().begin)}])
def test_one_long_prompt_beside_many_rows_changes_no_reply(settings: dict[str, Any]) -> None:
    wanted = requests(24, WARM, agents=1)
    wanted.insert(12, Request("long/t/0/0", 1, GREEDY, text="a" * 400))
    alone = texts(engine(8, decoder=SeparateDecoder(MODEL)), wanted)
    decoder = Measured(MODEL, 17, tokens=8 * BLOCK, **settings)
    assert texts(engine(16, decoder=decoder), wanted) == alone
    assert decoder.refusals > 0
    assert decoder.largest <= (8 + 4) * BLOCK  # one row more than planned, for a fork beside the row that it ends
