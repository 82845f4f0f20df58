"""The sampler, compared with transformers' warpers and with the distribution it should follow."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from swarmeval.engine import native
from swarmeval.engine.draw import NO_TOKEN, Penalty, SamplingLimits, Scores, draw, penalized, topk
from swarmeval.engine.sampler import Choice, Sampler

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def scores_of(seed: int, rows: int, vocabulary: int) -> Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


def reference(scores: Tensor, top_k: int, top_p: float) -> Tensor:
    """Probabilities after transformers' warpers."""
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1.0:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return scores.softmax(dim=-1)


def drawn(scores: Tensor, top_k: int, top_p: float, uniform: Tensor, window: int) -> Tensor:
    rows = scores.shape[0]
    return decided(scores, torch.full((rows,), top_k), torch.full((rows,), top_p), uniform, window)


def decided(scores: Tensor, top_k: Tensor, top_p: Tensor, uniform: Tensor, window: int) -> Tensor:
    """The tokens drawn from the best `window` scores, or from all scores if the window is not enough."""
    unlimited = ((top_k == 0) | (top_k >= scores.shape[1])).nonzero()[:, 0]
    limits = SamplingLimits(torch.ones(len(top_k)), top_k, top_p, unlimited)
    tokens, undecided = draw(Scores(scores), limits, uniform, window)
    if undecided.any():
        some = undecided.nonzero()[:, 0]
        tokens[some], left = draw(Scores(scores[some]), limits.of(some), uniform[some], scores.shape[1])
        assert not left.any()
    return tokens


def sweep(scores: Tensor, top_k: int, top_p: float, window: int, points: int = 1024) -> Tensor:
    """The frequency of each token in one row of scores under evenly spaced uniforms: [vocabulary]."""
    uniform = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    tokens = drawn(scores.expand(points, -1), top_k, top_p, uniform, window)
    return torch.bincount(tokens, minlength=scores.shape[1]) / points


def choice(seed: int = 0, **changes: float | bool) -> Choice:
    plain = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    return Choice(**(plain | changes), seed=seed)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    top_k=st.sampled_from([0, 1, 3, 8, 20, 50, 64, 1000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.99, 1.0]),
    window=st.sampled_from([1, 4, 16, 64]),
)
def test_every_token_is_drawn_as_often_as_transformers_would(seed: int, top_k: int, top_p: float, window: int) -> None:
    scores = scores_of(seed, 1, 64)
    wanted = reference(scores, top_k, top_p)[0]
    found = sweep(scores, top_k, top_p, window)
    # Evenly spaced uniforms are off by at most one point at each end of a token's interval.
    assert torch.allclose(found, wanted.float(), atol=2 / 1024)


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 0.9), (40, 0.9), (40, 1.0), (200, 0.95), (0, 0.5)])
def test_the_kept_set_equals_that_of_transformers(top_k: int, top_p: float) -> None:
    scores = scores_of(7, 3, 300)
    wanted = reference(scores, top_k, top_p) > 0
    for row in range(3):
        found = sweep(scores[row : row + 1], top_k, top_p, window=128) > 0
        assert not (found & ~wanted[row]).any()
        likely = reference(scores[row : row + 1], top_k, top_p)[0] > 1 / 1024
        assert (found | ~likely).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), vocabulary=st.sampled_from([20, 256, 300, 1000]), equal=st.booleans())
def test_searching_only_the_best_blocks_finds_the_overall_best(seed: int, vocabulary: int, equal: bool) -> None:
    scores = scores_of(seed, 3, vocabulary)
    scores = scores.round() if equal else scores
    values, ids = topk(scores, 4)
    assert torch.equal(values.sort(descending=True).values, scores.topk(4).values)
    assert torch.equal(values, scores.gather(1, ids))
    assert all(len(set(row)) == 4 for row in ids.tolist())


@pytest.mark.parametrize("window", [4, 16])
def test_draws_follow_the_distribution(window: int) -> None:
    """Chi-square over a vocabulary of 16; 40 is beyond the 99.9th percentile of 15 degrees of freedom (37.7)."""
    scores, draws = scores_of(3, 1, 16) / 3, 4000
    stream = random.Random(5)
    uniform = torch.tensor([stream.random() for _ in range(draws)], dtype=torch.float64)
    counts = torch.bincount(drawn(scores.expand(draws, -1), 0, 1.0, uniform, window), minlength=16)
    expected = scores[0].softmax(dim=-1) * draws
    assert float(((counts - expected) ** 2 / expected).sum()) < 40


def test_ties_with_the_last_of_top_k_are_kept_as_transformers_keeps_them() -> None:
    scores = torch.tensor([[5.0, 4.0, 4.0, 4.0, 1.0, 0.0]])
    for window in (2, 3, 6):
        assert torch.allclose(sweep(scores, 2, 1.0, window), reference(scores, 2, 1.0)[0], atol=1 / 1024)


def test_the_largest_uniform_still_draws_a_kept_token() -> None:
    scores = scores_of(11, 50, 40)
    uniform = torch.full((50,), 1 - 2**-53, dtype=torch.float64)
    tokens = drawn(scores, 5, 0.9, uniform, window=8)
    assert (reference(scores, 5, 0.9).gather(1, tokens[:, None]) > 0).all()


def test_rows_with_different_settings_do_not_disturb_each_other() -> None:
    scores = scores_of(13, 4, 200)
    top_k, top_p = torch.tensor([0, 5, 40, 150]), torch.tensor([0.9, 1.0, 0.5, 0.99])
    uniform = torch.tensor([0.1, 0.5, 0.9, 0.99], dtype=torch.float64)
    together = decided(scores, top_k, top_p, uniform, 16)
    alone = [
        int(decided(scores[i : i + 1], top_k[i : i + 1], top_p[i : i + 1], uniform[i : i + 1], 16)) for i in range(4)
    ]
    assert together.tolist() == alone


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    logits = scores_of(17, 2, 30)
    history = torch.tensor([[3, 3, 9, 12], [0, 1, 2, 29]])
    wanted = RepetitionPenaltyLogitsProcessor(1.3)(history, logits)
    penalty = Penalty(history, torch.tensor([4, 4]), torch.tensor([1.3, 1.3]))
    assert torch.equal(penalized(logits, penalty), wanted)


def test_greedy_rows_take_the_best_token_beside_sampling_rows() -> None:
    sampler = Sampler(2, CPU)
    sampler.admit(choice(do_sample=False, temperature=0.01), [1])
    sampler.admit(choice(seed=3, temperature=5.0), [1])
    logits = scores_of(19, 2, 50)
    assert sampler.choose(logits, 0)[0] == int(logits[0].argmax())


def test_settings_apply_in_the_order_of_transformers() -> None:
    logits = scores_of(23, 1, 40)
    sampler = Sampler(1, CPU)
    sampler.admit(choice(seed=29, temperature=0.7, top_k=9, top_p=0.8, repetition_penalty=1.4), [4, 5])
    warped = RepetitionPenaltyLogitsProcessor(1.4)(torch.tensor([[4, 5]]), logits)
    weights = reference(TemperatureLogitsWarper(0.7)(None, warped), 9, 0.8)[0].double()
    order = weights.argsort(descending=True)
    place = int((weights[order].cumsum(0) <= random.Random(29).random()).sum())
    assert sampler.choose(logits, 0) == [int(order[place])]


def test_a_row_that_moves_keeps_its_stream_and_its_history() -> None:
    logits = scores_of(31, 1, 50)
    alone, moved = Sampler(3, CPU), Sampler(3, CPU)
    mine = choice(seed=8, temperature=2.0, repetition_penalty=1.5)
    alone.admit(mine, [1, 2, 3])
    for prompt in ([7], [8, 9] * 200):  # the second is longer than the history's initial width
        moved.admit(choice(seed=1), prompt)
    moved.admit(mine, [1, 2, 3])
    wanted = [alone.choose(logits.clone(), 0)[0]]
    found = [moved.choose(logits.repeat(3, 1), 0)[2]]
    moved.evict(0)
    for _ in range(20):
        wanted += alone.choose(logits.clone(), 0)
        found.append(moved.choose(logits.repeat(2, 1), 0)[0])
    assert found == wanted


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([17, 300, 5000, 9000]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    penalty=st.sampled_from([1.0, 1.3, 0.8]),
    equal=st.booleans(),
)
def test_compiled_kernels_find_the_same_best(
    seed: int, vocabulary: int, dtype: torch.dtype, penalty: float, equal: bool
) -> None:
    """The best scores in order, ties by id. Ties with the last score are ignored, since torch takes any of them."""
    logits = scores_of(seed, 3, vocabulary)
    logits = (logits.round() if equal else logits).to(dtype)
    history = torch.randint(0, vocabulary, (3, 20), generator=torch.Generator().manual_seed(seed))
    history[:, 15:] = history[:, :1]  # padding
    lengths = torch.tensor([15, 3, 0], dtype=torch.int32)
    whole = torch.where(torch.arange(20) < lengths[:, None], history, history[:, :1])
    strength = torch.tensor([penalty, penalty, 1.0])
    width = min(128, vocabulary)
    found = Scores(logits, Penalty(history, lengths, strength), native.load(dtype)).best(width)
    wanted = Scores(logits, Penalty(whole, lengths, strength)).best(width)
    assert torch.equal(found[0], wanted[0])
    above = wanted[0] > wanted[0][:, -1:]
    assert torch.equal(found[1][above], wanted[1][above])


@pytest.mark.parametrize("top_k", [40, 0])
def test_compiled_kernels_choose_the_same_tokens(top_k: int) -> None:
    """Rows of every kind in one batch over many steps. Without top_k, some need the whole vocabulary."""
    plain, compiled = Sampler(4, CPU), Sampler(4, CPU, native.load(torch.bfloat16))
    kinds = (
        choice(seed=1, temperature=0.25, top_k=top_k, top_p=0.9, repetition_penalty=1.1),
        choice(do_sample=False, repetition_penalty=1.2),
        choice(seed=2, temperature=9.0, top_k=top_k),
        choice(seed=3, temperature=2.0, top_k=3000, top_p=0.99),
    )
    for kind in kinds:
        plain.admit(kind, [5, 6, 7])
        compiled.admit(kind, [5, 6, 7])
    for step in range(30):
        logits = scores_of(step, 4, 4000).bfloat16()
        assert compiled.choose(logits, 0) == plain.choose(logits, 0)


@pytest.mark.parametrize("settings", [{"do_sample": False}, {"top_k": 40, "top_p": 0.9}, {"top_p": 0.9}, {}])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_row_whose_logits_are_nan_gets_no_token(settings: dict[str, float | bool], compiled: bool) -> None:
    sampler = Sampler(2, CPU, native.load(torch.float32) if compiled else None)
    logits = scores_of(1, 2, 5000)
    logits[0] = torch.nan
    for _ in range(2):
        sampler.admit(choice(0, **settings), [1])
    nothing, token = sampler.choose(logits, 0)
    assert nothing == NO_TOKEN
    assert 0 <= token < 5000
