"""Two runs are compared task by task, or refused with the reason."""

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_eval_runner import canonical_solutions
from swarmeval.commands.compare import finding, lines, truncation_rows
from swarmeval.runs.finished_run import EndedRun, energy_wh, read
from swarmeval.scores.paired import interval_of, mcnemar, paired
from tests.support.checkout import ROOT


@settings(deadline=None)  # the first call imports scipy.special
@given(st.integers(0, 7), st.integers(0, 7))
def test_mcnemar_is_the_share_of_all_ways_to_flip_that_are_as_uneven(gained: int, lost: int) -> None:
    ways = list(itertools.product((0, 1), repeat=gained + lost))
    uneven = sum(abs(2 * sum(way) - gained - lost) >= abs(gained - lost) for way in ways)
    assert math.isclose(mcnemar(gained, lost), uneven / len(ways), abs_tol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_is_twice_the_binomial_tail_of_the_fewer_flips(gained: int, lost: int) -> None:
    flips, fewer = gained + lost, min(gained, lost)
    tail = Fraction(sum(math.comb(flips, i) for i in range(fewer + 1)), 2**flips)
    assert math.isclose(mcnemar(gained, lost), min(1.0, float(2 * tail)), rel_tol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=60))
def test_the_interval_of_a_change_holds_the_change(changes: list[float]) -> None:
    low, high = interval_of(changes)
    assert -1 <= low <= sum(changes) / len(changes) + 1e-9
    assert sum(changes) / len(changes) - 1e-9 <= high <= 1


def test_flips_are_tasks_that_became_solved_or_unsolved() -> None:
    comparison = paired({"a": 1.0, "b": 0.0, "c": 0.4, "d": 0.6}, {"a": 0.0, "b": 0.0, "c": 0.5, "d": 0.9})
    assert (comparison.gained, comparison.lost) == (("c",), ("a",))
    assert math.isclose(comparison.difference, -0.15)
    assert math.isclose(comparison.union, (1 + 0 + 0.7 + 0.96) / 4)  # 1 - (1 - A)(1 - B) for each task
    assert [task for task, _, _ in comparison.most] == ["a", "d", "c"]
    with pytest.raises(ValueError, match=r"^the tasks differ$"):
        paired({"a": 1.0}, {"b": 1.0})


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ([1, 1, 0, 0], [0, 1, 0, 0],
         "B solves 1 fewer of 4 tasks than A; the difference is not significant: McNemar p = 1."),
        ([0] * 9, [1] * 9, "B solves 9 more of 9 tasks than A; the difference is significant: McNemar p = 0.0039."),
        ([1, 0], [0, 1], "A and B solve equally many of 2 tasks, though not the same ones; the difference is not "
         "significant: McNemar p = 1."),
        ([1, 0], [1, 0], "A and B solve the same of 2 tasks: McNemar's test has nothing to compare."),
    ],
)  # fmt: skip
def test_a_comparison_begins_with_what_it_found(one: list[int], other: list[int], said: str) -> None:
    shares = [{str(task): float(solved) for task, solved in enumerate(run)} for run in (one, other)]
    assert finding(paired(*shares)) == said


def test_energy_is_power_times_time_of_every_gpu(tmp_path: Path) -> None:
    trace = tmp_path / "gpu_trace.csv"
    trace.write_text("elapsed_s,uuid,power_w\n0,x,100\n0,y,\n10,x,360\n20,x,360\n20,y,50\n")
    assert energy_wh(tmp_path, {"config": {"device": "cuda", "engine": "slots"}}) == 2.0
    assert energy_wh(tmp_path / "none", {}) is None


@pytest.mark.parametrize("config", [{"device": "cpu"}, {"device": "cuda", "engine": "scripted"}])
def test_gpus_that_a_run_did_not_use_cost_it_nothing(tmp_path: Path, config: dict[str, str]) -> None:
    (tmp_path / "gpu_trace.csv").write_text("elapsed_s,uuid,power_w\n0,x,100\n10,x,360\n")
    assert energy_wh(tmp_path, {"config": config}) is None


def test_energy_is_what_the_score_says_where_it_does(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"run_id": "r", "sessions": []}')
    (tmp_path / "task_summary.json").write_text('{"T/0": {"pass@1": 1.0}}')
    (tmp_path / "gpu_trace.csv").write_text("elapsed_s,uuid,power_w\n0,x,0\n10,x,360\n")
    for score, expected in (({"energy": {"joules": 7200.0}}, 2.0), ({}, 1.0)):
        (tmp_path / "score.json").write_text(json.dumps(score))
        assert read(tmp_path).energy_wh == expected


CUT = {"replies": 20, "cut": 1, "share": 0.05, "finished_pass@1": 0.5, "warning": "too many"}


def ended(truncation: dict[str, object] | None) -> EndedRun:
    return EndedRun(Path("run"), "r", {}, "", "", "", {"truncation": truncation}, {}, None, None, False, {})


def test_cut_replies_are_compared_and_warned_of() -> None:
    none: dict[str, object] = {"replies": 20, "cut": 0, "share": 0.0, "finished_pass@1": 0.25}
    assert list(truncation_rows(ended(none), ended(CUT))) == [
        "of finished                 25.0 %                50.0 %",
        "cut replies                  0.0 %                 5.0 %",
        "warning  B: 1 of 20 replies (5.0 %) was cut by the limit on tokens",
    ]
    assert list(truncation_rows(ended(None), ended(None))) == []
    assert next(truncation_rows(ended(None), ended(none))).split() == ["of", "finished", "-", "25.0", "%"]


def test_the_costs_of_two_runs_stand_side_by_side() -> None:
    priced = {"cost": {"currency": "EUR", "total": 1.25}}
    one, other = (replace(ended(None), score=score, shares={"T/0": 1.0}) for score in (priced, {}))
    assert "cost, EUR                     1.25                     -" in list(
        lines(one, other, paired(one.shares, other.shares))
    )


def main(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "main.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def scored(folder: Path, broken: int, *more: str) -> Path:
    """A folder with verdicts on all canonical solutions, of which the first `broken` are broken."""
    replies = folder.with_suffix(".jsonl")
    replies.write_text(
        "".join(
            json.dumps({"task_id": task_id, "completion": "    return None\n" if number < broken else text}) + "\n"
            for number, (task_id, text) in enumerate(canonical_solutions().items())
        )
    )
    words = ("eval_timeout_scale=1.0", "eval_workers=2", *more)
    assert main("score", str(replies), "--output_dir", str(folder), "--set", *words).returncode == 0
    return folder


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored(tmp_path_factory.mktemp("runs") / "best", 0)


@pytest.mark.slow
def test_two_runs_are_shown_side_by_side_and_task_by_task(best: Path, tmp_path: Path) -> None:
    worse = scored(tmp_path / "worse", 9)
    done = main("compare", str(best), str(worse))
    assert done.returncode == 0, done.stderr
    finding = "B solves 9 fewer of 164 tasks than A; the difference is significant: McNemar p = 0.0039."
    assert done.stdout.splitlines()[0] == finding
    for said in (
        "McNemar's test counts only the tasks that exactly one run solves.",
        " 100.0 % (97.7-100.0) ",
        "B - A  -5.5 points of pass@1, 95 % CI -9.1 to -2.4 (paired over 164 tasks): A is better",
        "flips  B gains 0 tasks and loses 9 (solved: at least half of the answers pass); exact McNemar p = 0.0039",
        "union  one answer per run, at least one passes: 100.0 % (97.7-100.0)",
        "lost   HumanEval/0, HumanEval/1, ",
    ):
        assert said in done.stdout
    same = main("compare", str(best), str(best))
    assert "no task differs" in same.stdout


@pytest.mark.slow
def test_runs_that_cannot_be_compared_are_refused_with_the_reason(best: Path, tmp_path: Path) -> None:
    other = scored(tmp_path / "other", 0, "eval_timeout=7.0")
    done = main("compare", str(best), str(other))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("cannot be compared: they were judged differently: eval_timeout is 10.0 and 7.0\n")
    (other / "task_summary.json").write_text('{"HumanEval/0": {}}')
    broken = main("compare", str(best), str(other))
    told = f"swarmeval: {other / 'task_summary.json'}: contains no task results; repeat the run\n"
    assert (broken.returncode, broken.stderr) == (2, told)
    empty = main("compare", str(tmp_path), str(best))
    assert (empty.returncode, empty.stderr) == (2, f"swarmeval: {tmp_path}: not a run folder (no manifest.json)\n")
