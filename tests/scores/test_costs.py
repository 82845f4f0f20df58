"""Costs per unit, and the table of sequential against concurrent runs."""

import pytest

from swarmeval.scores.costs import Cost, before_after, cost, solved

SCORE = {
    "generation_s": 100.0, "output_tokens": 5000, "tokens_per_s": 50.0, "evaluations": 40,
    "batch_audit": {"jobs": 5, "avg_latency_s": 25.0, "tokens_per_s": 5.0},
}  # fmt: skip


def test_a_task_is_solved_when_half_of_its_answers_pass() -> None:
    assert solved([(4, 2), (4, 1), (0, 0), (1, 1)]) == 2


def test_a_unit_cost_is_the_total_by_units_and_nothing_without_units() -> None:
    assert cost(SCORE, 2000.0, 4) == Cost(25.0, 1250.0, 500.0, None)
    assert cost({**SCORE, "computed_tokens": 1000}, 2000.0, 4) == Cost(25.0, 1250.0, 500.0, 250.0)
    assert cost(SCORE, None, 0) == Cost(None, None, None, None)


def test_the_time_one_by_one_is_extrapolated_to_all_jobs() -> None:
    found = before_after(SCORE)
    assert found is not None
    assert (found.measured, found.sequential_s, found.run_s) == (5, 1000.0, 100.0)
    assert found.speed_up == pytest.approx(10.0)


def test_repairs_are_jobs_that_one_by_one_would_take_their_time_too() -> None:
    rounds = [
        {"jobs": 40, "outcomes": {"PASSED": 9, "RAISED": 30, "NOT_GENERATED": 1}},
        {"jobs": 30, "outcomes": {"RAISED": 30}},
    ]
    found = before_after({**SCORE, "rounds": rounds})
    assert found is not None
    assert (found.jobs, found.sequential_s) == (69, 1725.0)


@pytest.mark.parametrize("lacking", ["batch_audit", "generation_s"])
def test_without_a_measurement_there_is_no_table(lacking: str) -> None:
    assert before_after({key: value for key, value in SCORE.items() if key != lacking}) is None
