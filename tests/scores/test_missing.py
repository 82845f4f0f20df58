"""Unanswered tasks are listed compactly, and can count as failed."""

import pytest

from swarmeval.scores.missing import named, with_failed
from swarmeval.scores.stats import mean_pass_at_k


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], ""),
        ([3], "T/3"),
        ([3, 4], "T/3, T/4"),
        ([1, 40, 41, 42, 43, 99], "T/1, T/40 to 43, T/99"),
        (list(range(0, 24, 2)), "T/0, T/2, T/4, T/6, T/8, T/10, T/12, T/14, and 4 more"),
    ],
)
def test_neighbours_are_named_as_a_range(numbers: list[int], words: str) -> None:
    assert named([f"T/{number}" for number in numbers]) == words


def test_names_that_do_not_count_are_listed() -> None:
    assert named(["a", "b", "c"]) == "a, b, c"


def test_a_failed_task_lowers_every_pass_at_k_and_makes_none_undefined() -> None:
    counts = with_failed([(12, 12), (10, 10), (0, 0)], 2)
    assert counts[3:] == [(10, 0), (10, 0)]
    assert [mean_pass_at_k(counts, k) for k in (1, 10)] == [0.5, 0.5]
    assert with_failed([(0, 0)], 1) == [(0, 0), (0, 0)]  # without any verdict there is no score
