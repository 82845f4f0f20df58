"""Recorded draws choose the tokens of plain ones, with few recordings, while rows and settings change."""

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.engine import recorded_draws
from swarmeval.engine.draw import KeptDistribution
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.sampler import Choice, Sampler
from tests.support.graph_recorder import Stale, Tape, refusing

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ROWS, VOCABULARY = 20, 300
CHOICES = (
    Choice(True, 0.7, 40, 0.9, 1.0),
    Choice(True, 1.3, 0, 0.95, 1.2),
    Choice(True, 1.0, 0, 1.0, 1.0),
    Choice(True, 1.0, 250, 1.0, 1.0),
    Choice(False, 1.0, 1, 1.0, 1.1),
)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_recorded_draws_choose_the_same_tokens(seed: int) -> None:
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    plain, recorded = Sampler(ROWS, CPU), Sampler(ROWS, CPU, step=Graphs(Tape().begin))
    rows = 0
    for _ in range(6):
        for _ in range(chance.randint(0, ROWS - rows)):
            history = [chance.randrange(VOCABULARY) for _ in range(chance.randint(1, 300))]
            plain.admit(history)
            recorded.admit(history)
            rows += 1
        if not rows:
            continue
        first = chance.randrange(rows)
        logits = torch.randn(rows - first, VOCABULARY, generator=generator) * 4
        settings_used = chance.sample(CHOICES, chance.randint(1, len(CHOICES)))
        groups = [(row, choice) for row in range(rows - first) for choice in settings_used if chance.random() < 0.8]
        draws = [chance.randrange(len(groups)) for _ in range(chance.randint(1, 40))] if groups else []
        if draws:
            uniforms = [chance.random() for _ in draws]
            tokens, kept = recorded.choose(logits, first, groups, draws, uniforms)
            expected, other = plain.choose(logits, first, groups, draws, uniforms)
            assert tokens == expected
            for index in range(len(groups)):
                uniform = chance.random()
                assert KeptDistribution(kept).draw(index, uniform) == KeptDistribution(other).draw(index, uniform)
        if chance.random() < 0.5:
            row, rows = chance.randrange(rows), rows - 1
            plain.evict(row)
            recorded.evict(row)


def test_few_recordings_serve_many_steps() -> None:
    tape = Tape()
    sampler = Sampler(ROWS, CPU, step=Graphs(tape.begin))
    for row in range(ROWS):
        sampler.admit([row, 1, 2])
    for rows in (20, 19, 17, 18, 17, 20):
        logits = torch.randn(rows, VOCABULARY)
        members = [row for row in range(rows) for _ in range(1 + row % 2)]
        sampler.choose(logits, 0, [(row, CHOICES[0]) for row in range(rows)], members, [0.5] * len(members))
    assert (tape.recorded, tape.replayed) == (1, 6)


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (Tape().begin, None),
        (Stale().begin, "their tokens differ from plain ones"),
        (refusing(RuntimeError("operation not permitted")), "RuntimeError: operation not permitted"),
    ],
)
def test_draws_are_recorded_only_if_a_trial_is_right(
    begin: Any, message: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert recorded_draws.checked(begin, VOCABULARY, CPU, torch.float32) is (begin if message is None else None)
    assert caplog.messages[-1:] == ([] if message is None else [f"draws are not recorded: {message}"])
