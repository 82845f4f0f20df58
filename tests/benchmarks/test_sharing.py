"""The benchmark of shared answers: what it counts and shows."""

import argparse

import pytest

from benchmarks import sharing
from swarmeval.requests import Request, Sampling
from tests.support.tiny_engine import engine

pytestmark = pytest.mark.usefixtures("one_thread")


def test_nodes_and_tokens_of_equal_and_different_replies_are_counted() -> None:
    greedy = Sampling(max_new_tokens=5, do_sample=False)
    one = engine(4)
    requests = [
        Request(f"{agent}/{task}/0/0", agent, greedy, text=task) for agent in range(3) for task in ("ab", "xyz")
    ]
    measured, ids = sharing.run(one, requests)
    delivered = sum(map(len, ids.values()))
    assert (measured.delivered, measured.computed, measured.nodes) == (delivered, delivered // 3, delivered // 3)
    assert (measured.forks, measured.waiting, measured.rows) == (0, 0, 2)
    again, same = sharing.run(sharing.without_sharing(one), requests)
    assert (again.computed, again.nodes, same) == (delivered, delivered // 3, ids)


def test_the_table_has_medians_of_ratios() -> None:
    def result(number: int, on_s: float, off_s: float) -> dict[str, object]:
        on = {"seconds": on_s, "delivered": 100, "computed": 25, "nodes": 25, "rows": 4, "forks": 3, "waiting": 0}
        off = on | {"seconds": off_s, "computed": 100}
        return {"case": "greedy", "round": number, "on": on, "off": off, "equal": 1.0}

    head, row = sharing.table([result(0, 1.0, 8.0), result(1, 2.0, 8.0), result(2, 1.0, 6.0)]).splitlines()
    assert head.split() == ["case", "on", "off", "ratio", "shared", "/nodes", "rows", "forks", "waiting", "equal"]
    assert row.split() == ["greedy", "100", "12", "6.00", "4.00", "1.000", "4", "3", "0", "100.0%"]


def test_cases_can_be_chosen_by_name() -> None:
    options = argparse.Namespace(agents=50, only=["slots", "one agent"])
    assert [case.name for case in sharing.cases(options)] == ["temperature 0.25, slots", "temperature 0.25, one agent"]
