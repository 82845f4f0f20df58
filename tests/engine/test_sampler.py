"""The sampler, compared with transformers' warpers and with the distribution it should follow."""

import random
from collections.abc import Sequence

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

from swarmeval.engine.draw import (
    NO_TOKEN,
    KeptDistribution,
    Penalty,
    SamplingLimits,
    Scores,
    distribution,
    penalized,
    topk,
)
from swarmeval.engine.kernels import native
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
    rows = torch.arange(len(uniform))
    tokens, undecided = distribution(Scores(scores), limits, window).draw(rows, uniform)
    if undecided.any():
        some = undecided.nonzero()[:, 0]
        everything = distribution(Scores(scores[some]), limits.of(some), scores.shape[1])
        tokens[some], left = everything.draw(rows[: len(some)], uniform[some])
        assert not left.any()
    return tokens


def sweep(scores: Tensor, top_k: int, top_p: float, window: int, points: int = 1024) -> Tensor:
    """The frequency of each token in one row of scores under evenly spaced uniforms: [vocabulary]."""
    uniform = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    tokens = drawn(scores.expand(points, -1), top_k, top_p, uniform, window)
    return torch.bincount(tokens, minlength=scores.shape[1]) / points


def choice(**changes: float | bool) -> Choice:
    plain = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    return Choice(**(plain | changes))  # type: ignore[arg-type]


def chosen(sampler: Sampler, logits: Tensor, choices: Sequence[Choice], uniforms: Sequence[float]) -> list[int]:
    """One draw per row."""
    return sampler.choose(logits, 0, list(enumerate(choices)), range(len(choices)), uniforms)[0]


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
    for _ in range(2):
        sampler.admit([1])
    logits = scores_of(19, 2, 50)
    greedy, warm = choice(do_sample=False, temperature=0.01), choice(temperature=5.0)
    assert chosen(sampler, logits, [greedy, warm], [0.0, 0.9])[0] == int(logits[0].argmax())


def test_settings_apply_in_the_order_of_transformers() -> None:
    logits = scores_of(23, 1, 40)
    sampler = Sampler(1, CPU)
    sampler.admit([4, 5])
    warped = RepetitionPenaltyLogitsProcessor(1.4)(torch.tensor([[4, 5]]), logits)
    weights = reference(TemperatureLogitsWarper(0.7)(None, warped), 9, 0.8)[0].double()
    order = weights.argsort(descending=True)
    uniform = random.Random(29).random()
    place = int((weights[order].cumsum(0) <= uniform).sum())
    mine = choice(temperature=0.7, top_k=9, top_p=0.8, repetition_penalty=1.4)
    assert chosen(sampler, logits, [mine], [uniform]) == [int(order[place])]


def test_a_row_that_moves_keeps_its_history() -> None:
    logits, stream = scores_of(31, 1, 50), random.Random(8)
    alone, moved = Sampler(3, CPU), Sampler(3, CPU)
    mine, other = choice(temperature=2.0, repetition_penalty=1.5), choice()
    alone.admit([1, 2, 3])
    for history in ([7], [8, 9] * 200, [1, 2, 3]):  # the second is longer than the history's initial width
        moved.admit(history)
    wanted, found = [], []
    for step in range(20):
        if step == 1:
            moved.evict(0)
        uniform, rows = stream.random(), 3 if step == 0 else 2
        place = 2 if step == 0 else 0
        choices = [mine if row == place else other for row in range(rows)]
        wanted += chosen(alone, logits, [mine], [uniform])
        found.append(chosen(moved, logits.repeat(rows, 1), choices, [uniform] * rows)[place])
        alone.append(wanted[-1:])
        moved.append([found[-1] if row == place else 5 for row in range(rows)])
    assert found == wanted


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), members=st.lists(st.integers(0, 3), min_size=1, max_size=20), penalty=st.booleans())
def test_draws_from_one_row_are_those_that_rows_of_their_own_would_get(
    seed: int, members: list[int], penalty: bool
) -> None:
    """Members with any settings and uniforms; all have the same history."""
    strength = 1.3 if penalty else 1.0
    kinds = (
        choice(temperature=0.25, top_k=40, top_p=0.9, repetition_penalty=strength),
        choice(do_sample=False, temperature=1.0, top_k=1),
        choice(temperature=9.0),
        choice(temperature=2.0, top_k=3, top_p=0.99, repetition_penalty=1.1),
    )
    logits, stream = scores_of(seed, 1, 4000), random.Random(seed)
    uniforms = [stream.random() for _ in members]
    together, apart = Sampler(1, CPU), Sampler(len(members), CPU)
    together.admit([5, 6, 7])
    for _ in members:
        apart.admit([5, 6, 7])
    present = sorted(set(members))
    groups = [(0, kinds[kind]) for kind in present]
    found, _ = together.choose(logits, 0, groups, [present.index(kind) for kind in members], uniforms)
    assert found == chosen(apart, logits.repeat(len(members), 1), [kinds[kind] for kind in members], uniforms)


def test_members_of_a_row_draw_independently() -> None:
    """Chi-square over pairs of members; 330.5 is the 99.9th percentile of 255 degrees of freedom."""
    sampler, scores, draws = Sampler(1, CPU), scores_of(3, 1, 16) / 3, 20_000
    sampler.admit([1])
    one, other = random.Random(5), random.Random(6)
    uniforms = [stream.random() for _ in range(draws) for stream in (one, other)]
    tokens, _ = sampler.choose(scores, 0, [(0, choice())], [0] * len(uniforms), uniforms)
    pairs = torch.bincount(torch.tensor(tokens[::2]) * 16 + torch.tensor(tokens[1::2]), minlength=256)
    each = scores[0].softmax(dim=-1)
    expected = torch.outer(each, each).flatten() * draws
    assert float(((pairs - expected) ** 2 / expected).sum()) < 330.5


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    top_k=st.sampled_from([0, 3, 40]),
    top_p=st.sampled_from([0.5, 0.9, 1.0]),
    temperature=st.sampled_from([0.2, 1.0, 5.0]),
)
def test_a_kept_distribution_draws_the_same_token_or_none(
    seed: int, top_k: int, top_p: float, temperature: float
) -> None:
    sampler, logits, stream = Sampler(1, CPU), scores_of(seed, 1, 4000), random.Random(seed)
    sampler.admit([1])
    uniforms = [stream.random() for _ in range(200)]
    mine = choice(temperature=temperature, top_k=top_k, top_p=top_p)
    tokens, found = sampler.choose(logits, 0, [(0, mine)], [0] * 200, uniforms)
    kept = KeptDistribution(found)
    later = [kept.draw(0, uniform) for uniform in uniforms]
    assert all(again in (token, None) for token, again in zip(tokens, later, strict=True))
    if top_k == 3:
        assert None not in later


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
        choice(temperature=0.25, top_k=top_k, top_p=0.9, repetition_penalty=1.1),
        choice(do_sample=False, repetition_penalty=1.2),
        choice(temperature=9.0, top_k=top_k),
        choice(temperature=2.0, top_k=3000, top_p=0.99),
    )
    for _ in kinds:
        plain.admit([5, 6, 7])
        compiled.admit([5, 6, 7])
    stream = random.Random(1)
    for step in range(30):
        logits = scores_of(step, 4, 4000).bfloat16()
        uniforms = [stream.random() if kind.do_sample else 0.0 for kind in kinds]
        tokens = chosen(plain, logits, kinds, uniforms)
        assert chosen(compiled, logits, kinds, uniforms) == tokens
        plain.append(tokens)
        compiled.append(tokens)


@pytest.mark.parametrize("settings", [{"do_sample": False}, {"top_k": 40, "top_p": 0.9}, {"top_p": 0.9}, {}])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("places", [slice(None), 17, 4999])  # one NaN is noticed, too
def test_a_row_with_nan_logits_gets_no_token(
    settings: dict[str, float | bool], compiled: bool, places: int | slice
) -> None:
    sampler = Sampler(2, CPU, native.load(torch.float32) if compiled else None)
    logits = scores_of(1, 2, 5000)
    logits[0, places] = torch.nan
    sampler.admit([1])
    sampler.admit([1])
    nothing, token = chosen(sampler, logits, [choice(**settings)] * 2, [0.0, 0.0])
    assert (nothing, 0 <= token < 5000) == (NO_TOKEN, True)
