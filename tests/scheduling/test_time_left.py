"""Claims about the estimate of the time that generation still needs."""

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.scheduling.time_left import seconds_left


def test_before_any_job_has_finished_the_estimate_is_an_upper_bound() -> None:
    """150 rows in parallel after 6 minutes: an estimate from finished jobs said two more hours."""
    left_s = seconds_left(0, 150, finished=0, finished_tokens=0, open_tokens=150 * 384, most=512, tokens_per_s=160)
    assert left_s == 150 * (512 - 384) / 160


def test_without_a_speed_nothing_is_said() -> None:
    assert seconds_left(8, 8, 0, 0, 0, 256, 0.0) is None


@given(seed=st.integers(0, 10_000), most=st.integers(64, 512))
@settings(deadline=None, max_examples=10)
def test_it_comes_close_in_the_midst_of_a_run(seed: int, most: int) -> None:
    """On average over 20 runs; a single run of 400 jobs may be off by a third, as its lengths are."""
    ratios = [estimated_over_true(seed + number, most) for number in range(20)]
    assert statistics.mean(ratios) == pytest.approx(1, rel=0.12)
    assert all(ratio == pytest.approx(1, rel=0.45) for ratio in ratios)


def estimated_over_true(seed: int, most: int) -> float:
    """A run with exponential lengths, 64 rows, one token per row and step, when half of its jobs are finished."""
    draw = random.Random(seed)
    lengths = [min(most, 1 + int(draw.expovariate(1 / 100))) for _ in range(400)]
    rows: list[list[int]] = []  # [length, tokens done]
    finished: list[int] = []
    waiting = lengths[:]
    while len(finished) < 200:
        while waiting and len(rows) < 64:
            rows.append([waiting.pop(), 0])
        for row in rows:
            row[1] += 1
        finished += [row[0] for row in rows if row[1] >= row[0]]
        rows = [row for row in rows if row[1] < row[0]]
    rest = sum(waiting) + sum(length - done for length, done in rows)
    open_tokens = sum(done for _, done in rows)
    left_s = seconds_left(len(waiting), len(rows), len(finished), sum(finished), open_tokens, most, 1.0)
    assert left_s is not None
    return left_s / rest


@given(
    waiting=st.integers(0, 1000),
    decoding=st.integers(0, 300),
    finished=st.integers(0, 1000),
    each=st.integers(0, 256),
    speed=st.floats(0.1, 1e5),
)
def test_it_is_never_negative_nor_above_the_longest_answers(
    waiting: int, decoding: int, finished: int, each: int, speed: float
) -> None:
    left_s = seconds_left(waiting, decoding, finished, finished * each, decoding * each, 256, speed)
    assert left_s is not None
    assert 0 <= left_s <= (waiting + decoding) * 256 / speed * 1.000001
