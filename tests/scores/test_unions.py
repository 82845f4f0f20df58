"""A union's score equals the result of enumerating all ways to draw its answers."""

import itertools
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.cli import main
from swarmeval.errors import DataError
from swarmeval.runs.finished_run import verdicts_by_profile
from swarmeval.scores.intervals import over_tasks, wilson
from swarmeval.scores.stats import mean_pass_at_k
from swarmeval.scores.unions import EVERY, PAIRS, chances, listed, pooled, union, unions

Members = list[dict[str, list[bool]]]  # per task: whether each answer passed

ANSWERS = st.lists(st.booleans(), min_size=1, max_size=4)
MEMBERS = st.integers(1, 4).flatmap(
    lambda tasks: st.lists(st.fixed_dictionaries({str(task): ANSWERS for task in range(tasks)}), min_size=1, max_size=4)
)


def counted(members: Members) -> list[dict[str, tuple[int, int]]]:
    return [{task: (len(answers), sum(answers)) for task, answers in member.items()} for member in members]


@given(MEMBERS)
def test_the_chance_of_a_task_equals_counting_every_draw_from_each_member(members: Members) -> None:
    for task, chance in chances(counted(members)).items():
        draws = list(itertools.product(*(member[task] for member in members)))
        assert math.isclose(chance, sum(map(any, draws)) / len(draws), abs_tol=1e-12)


@given(MEMBERS)
def test_the_pooled_score_equals_counting_every_k_of_all_answers(members: Members) -> None:
    pools = [[answer for member in members for answer in member[task]] for task in members[0]]
    for k in range(1, min(len(pool) for pool in pools) + 1):
        draws = [list(itertools.combinations(pool, k)) for pool in pools]
        expected = sum(sum(map(any, ways)) / len(ways) for ways in draws) / len(draws)
        assert math.isclose(mean_pass_at_k(pooled(counted(members)), k), expected, abs_tol=1e-12)


@given(MEMBERS)
def test_a_union_is_no_worse_than_its_parts_and_one_member_is_pass_at_1(members: Members) -> None:
    counts = counted(members)
    each = [union(counts[:size], has_interval=False)["pass@1_each"] for size in range(1, len(counts) + 1)]
    assert all(less <= more + 1e-12 for less, more in itertools.pairwise(each))  # type: ignore[operator]
    assert math.isclose(each[0], mean_pass_at_k(counts[0].values(), 1), abs_tol=1e-12)  # type: ignore[arg-type]


def test_only_tasks_answered_by_every_member_count_for_one_answer_of_each() -> None:
    found = union([{"a": (2, 1), "b": (1, 0)}, {"a": (4, 1), "c": (1, 1)}])
    assert (found["tasks"], found["pass@1_each"]) == (1, 1 - 0.5 * 0.75)
    assert math.isclose(found["pass@1"], (2 / 6 + 0 + 1) / 3)  # type: ignore[arg-type]


def test_the_interval_is_over_tasks_and_wilsons_where_each_gave_one_answer() -> None:
    once = [{"a": (1, 1), "b": (1, 0), "c": (1, 0)}, {"a": (1, 0), "b": (1, 1), "c": (1, 0)}]
    assert union(once)["pass@1_each_interval"] == list(wilson(2, 3))
    twice = [{"a": (2, 1), "b": (2, 0)}, {"a": (2, 1), "b": (2, 1)}]
    assert union(twice)["pass@1_each_interval"] == list(over_tasks([0.75, 0.5]))


def test_what_is_undefined_of_a_union_is_none_with_its_reason() -> None:
    assert union([{"a": (1, 1)}, {"b": (1, 1)}]) == {
        "tasks": 0, "pass@1_each": None, "pass@1_each_interval": None, "pass@1": 1.0, "pass@10": None, "pass@100": None,
        "undefined": {
            "pass@10": "pass@10 needs at least 10 samples per task; the fewest here are 1",
            "pass@100": "pass@100 needs at least 100 samples per task; the fewest here are 1",
            "pass@1_each": "needs a task on which every profile has a verdict; none was found",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("profiles", "count"), [(1, 0), (2, 1), (3, 4), (EVERY, 11), (EVERY + 1, 11), (PAIRS, 67), (PAIRS + 1, 1), (50, 1)]
)
def test_few_profiles_have_every_union_and_many_have_one(profiles: int, count: int) -> None:
    names = [str(number) for number in range(profiles)]
    found = list(listed(names))
    assert len(found) == count
    assert not found or found[-1] == tuple(names)


def test_beyond_a_few_profiles_only_the_union_of_all_has_an_interval() -> None:
    found = unions({str(number): {"a": (1, number % 2)} for number in range(EVERY + 1)})
    having = [name for name, facts in found.items() if facts["pass@1_each_interval"] is not None]
    assert having == ["0 + 1 + 2 + 3 + 4"]
    told = found["0 + 1"]["undefined"]
    assert isinstance(told, dict)
    assert (
        told["pass@1_each_interval"]
        == "with more than 4 profiles, computed only for all together; use python main.py union"
    )


def run_folder(folder: Path) -> Path:
    """The files that `union` reads: named profiles, two tasks, and some jobs without an answer."""
    folder.mkdir()
    (folder / "manifest.json").write_text('{"run_id": "r", "sessions": []}')
    agents: list[tuple[str | None, dict[str, str | None]]] = [
        ("bold", {"a": "PASSED", "b": "RAISED"}),
        ("bold", {"a": "WRONG_ANSWER", "b": "PASSED"}),
        ("calm", {"a": "PASSED", "b": "NOT_GENERATED"}),
        ("odd", {"a": "RAISED", "b": None}),
        (None, {}),
    ]
    summaries = [{"agent_id": number, "name": name} for number, (name, _) in enumerate(agents)]
    (folder / "agent_summary.json").write_text(json.dumps(summaries))
    for number, (_, outcomes) in enumerate(agents):
        tasks = {task: [{"sample": 0, "outcome": outcome}] for task, outcome in outcomes.items()}
        (folder / f"agent_{number}_evaluation.json").write_text(json.dumps({"tasks": tasks}))
    return folder


def test_verdicts_of_a_run_folder_are_read_by_profile_without_failures(tmp_path: Path) -> None:
    assert verdicts_by_profile(run_folder(tmp_path / "run")) == {
        "bold": {"a": (2, 1), "b": (2, 1)}, "calm": {"a": (1, 1)}, "odd": {"a": (1, 0)}
    }  # fmt: skip


def test_any_union_of_a_run_is_told_beside_its_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path / "run")
    assert main(["union", str(folder), "bold", "odd"]) == 0
    assert capsys.readouterr().out == (
        "                                  pass@1 (95 % CI)   pass@10  pass@100\n"
        "bold                             50.0 % (9.5-90.5)         -         -\n"
        "odd                               0.0 % (0.0-79.3)         -         -\n"
        "one answer per profile           50.0 % (0.0-79.3)\n"
        "all answers pooled                          41.7 %         -         -\n"
        "one answer per profile: at least one passes; tasks with verdicts of every profile: 1\n"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["bold", "shy"], "has no profile 'shy'; it has bold, calm, odd"),
        (["bold", "bold"], "a union needs at least two profiles; the run has bold, calm, odd"),
    ],
)
def test_an_unknown_union_is_refused_with_the_existing_profiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], told: str
) -> None:
    folder = run_folder(tmp_path / "run")
    assert main(["union", str(folder), *names]) == 2
    assert capsys.readouterr().err == f"swarmeval: {folder}: {told}\n"


def test_a_run_without_profiles_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "agent_summary.json").write_text('[{"agent_id": 4, "name": null}]')
    told = f"{folder}: has no profiles (agents with a name) that have verdicts; name the agents"
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        verdicts_by_profile(folder)
    (folder / "agent_summary.json").write_text('[{"agent_id": 4}]')
    broken = f"{folder}: the agents' files contain no results; repeat the run"
    with pytest.raises(DataError, match=f"^{re.escape(broken)}$"):
        verdicts_by_profile(folder)
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path))}: not a run folder \(no manifest.json\)$"):
        verdicts_by_profile(tmp_path)
