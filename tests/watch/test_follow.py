"""Claims about following a journal: whole lines once, little memory, a restart with each run, answers on demand."""

import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Completion, Job, Outcome, Verdict
from swarmeval.runs.journal import NAME, Entry
from swarmeval.watch.answers import answers
from swarmeval.watch.follow import MOST_BYTES, Follower
from swarmeval.watch.histogram import LogHistogram
from swarmeval.watch.outcome_grid import GridCell, OutcomeGrid
from tests.support.made_up_run import completion, verdict, write_journal


def append(folder: Path, text: bytes) -> None:
    with (folder / NAME).open("ab") as file:
        file.write(text)


def line(number: int, outcome: str = "PASSED") -> bytes:
    job_id = f"{number % 50}/HumanEval/{number // 50}/0/0"
    made = f'{{"completion":{{"job_id":"{job_id}","text":"x","device":"cuda:0","output_tokens":7,"latency_s":1.5}}}}\n'
    return (made + f'{{"verdict":{{"job_id":"{job_id}","outcome":"{outcome}","completion":"y"}}}}\n').encode()


def test_a_journal_is_counted(tmp_path: Path) -> None:
    write_journal(tmp_path)
    follower = Follower(tmp_path)
    follower.look("r", [0, 1, 2])
    grid = follower.tally.grid
    assert grid.tasks() == ["HumanEval/0", "HumanEval/1"]
    assert grid.agents() == [0, 1, 2]
    assert grid.cell(0, "HumanEval/0") == GridCell(1, 1, 1, "PASSED")
    assert grid.cell(1, "HumanEval/0") == GridCell(1, 1, 0, "WRONG_ANSWER")
    assert grid.cell(2, "HumanEval/0") == GridCell(1)
    assert grid.cell(0, "HumanEval/1") == GridCell(1, word="NOT_GENERATED")
    assert grid.cell(1, "HumanEval/1") == GridCell(1, 1, 0, "RAISED", repaired=True)
    assert grid.cell(2, "HumanEval/1") == grid.cell(0, "HumanEval/7") == GridCell()
    assert grid.counts() == [(2, 1), (1, 0)]
    assert follower.tally.tokens == {"cuda:0": 5 * 90}


def test_a_look_reads_only_what_is_new_however_long_the_journal(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    read = []
    for start in range(0, 100_000, 20_000):
        append(tmp_path, b"".join(map(line, range(start, start + 19_999))))
        follower.catch_up("r")
        append(tmp_path, line(start + 19_999))
        read.append(follower.look("r"))
        assert follower.look("r") == 0
    assert read == [len(line(start + 19_999)) for start in range(0, 100_000, 20_000)]
    assert sum(judged for judged, _ in follower.tally.grid.counts()) == follower.tally.latency.count == 100_000


def test_one_look_takes_a_bounded_bite_of_a_long_journal(tmp_path: Path) -> None:
    append(tmp_path, b"".join(map(line, range(MOST_BYTES // len(line(0)) + 10))) + b"half a line")
    follower = Follower(tmp_path)
    assert follower.look("r") <= MOST_BYTES + len(line(0))
    assert follower.behind
    follower.catch_up("r")
    assert follower.tally.read == follower.tally.size - len(b"half a line")
    assert not follower.behind


@given(st.lists(st.integers(1, 200), max_size=20))
def test_however_the_file_grows_each_line_counts_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    whole = b"".join(map(line, range(20)))
    follower = Follower(folder)
    for cut in [*cuts, len(whole)]:
        append(folder, whole[:cut])
        whole = whole[cut:]
        follower.look("r")
    assert follower.tally.latency.count == 20
    assert follower.tally.unreadable == 0


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    append(tmp_path, line(0)[:50])
    follower = Follower(tmp_path)
    follower.look("r")
    assert (follower.tally.read, follower.tally.unreadable) == (0, 0)


def test_a_new_run_a_shorter_or_a_missing_file_restarts_the_follower(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    follower.look("r")
    append(tmp_path, line(0) + line(1))
    follower.look("r")
    assert follower.tally.latency.count == 2
    (tmp_path / NAME).write_bytes(line(0))
    follower.look("r")
    assert follower.tally.latency.count == 1
    follower.look("another")
    assert follower.tally.latency.count == 1
    (tmp_path / NAME).rename(tmp_path / "archived")
    follower.look("another")
    assert follower.tally.latency.count == 0


def test_lines_that_are_none_are_counted_and_passed_over(tmp_path: Path) -> None:
    append(
        tmp_path, b'{"completion":{"job_id":"nonsense"}}\n\xff\n[]\n{"verdict":{"job_id":"0/a/0/0","outcome":"FINE"}}\n'
    )
    append(tmp_path, b'{"x":' * 100_000 + b"\n")
    append(tmp_path, line(0))
    follower = Follower(tmp_path)
    follower.look("r")
    assert (follower.tally.unreadable, follower.tally.latency.count) == (5, 1)


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_within_one_per_cent_of_a_value(values: list[float], share: float) -> None:
    histogram = LogHistogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, -int(-share * len(values) // 1)) - 1]
    estimate = histogram.percentile(share)
    assert estimate is not None
    assert exact / 1.01 <= estimate <= exact * 1.01


def test_without_values_there_is_no_percentile() -> None:
    assert LogHistogram().percentile(0.5) is None


def test_a_million_jobs_take_a_few_bytes_each() -> None:
    grid, chance = OutcomeGrid(range(1000)), random.Random(0)
    tracemalloc.start()
    for task in range(10):
        for agent in range(1000):
            job = Job(agent, f"t/{task}")
            grid.answer(job, failed=False)
            grid.verdict(job, chance.choice(list(Outcome)))
    bytes_held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 10_000 < bytes_held <= 16 * 10_000


def test_blocks_add_their_cells_up(tmp_path: Path) -> None:
    write_journal(tmp_path)
    follower = Follower(tmp_path)
    follower.look("r")
    block = follower.tally.grid.block(slice(0, 3), ["HumanEval/0", "HumanEval/1", "HumanEval/9"])
    assert (block.answered, block.judged, block.passed) == (5, 3, 1)
    assert follower.tally.grid.outcomes(slice(0, 2), ["HumanEval/0"]) == {"PASSED": 1, "WRONG_ANSWER": 1}


def test_tasks_stand_in_the_order_of_their_numbers() -> None:
    grid = OutcomeGrid()
    for name in ("HumanEval/10", "HumanEval/9", "Mbpp/2", "HumanEval/100", "²", "7"):
        grid.answer(Job(0, name), failed=False)
    assert grid.tasks() == ["7", "HumanEval/9", "HumanEval/10", "HumanEval/100", "Mbpp/2", "²"]


@given(st.lists(st.text(st.sampled_from("/a09\u00b2\u0663"), max_size=6)))
def test_any_name_of_a_task_has_its_place(names: list[str]) -> None:
    grid = OutcomeGrid()
    for name in (*names, "1" * 5000, "2" * 4999):
        grid.answer(Job(0, name), failed=False)
    assert set(grid.tasks()) == {*names, "1" * 5000, "2" * 4999}
    assert grid.tasks().index("2" * 4999) < grid.tasks().index("1" * 5000)


def test_invalid_lines_are_not_answers(tmp_path: Path) -> None:
    for job_id in ("1/a/0/", "1/a/0/0"):
        append(tmp_path, b'{"failure":{"job_id":"%s","reason":"r","attempts":1}}\n' % job_id.encode())
    append(tmp_path, b'{"x":"1/a/","y":' + b"[" * 100_000 + b"\n")
    assert [answer.job for answer in answers(tmp_path / NAME, 1, "a")] == [Job(1, "a")]


def test_a_torn_end_however_long_is_nothing_to_catch_up_with(tmp_path: Path) -> None:
    append(tmp_path, line(0) + b"x" * (MOST_BYTES + 1))
    follower = Follower(tmp_path)
    follower.look("r")
    assert (follower.tally.latency.count, follower.behind) == (1, False)


def test_the_answers_of_an_agent_to_a_task_are_found_with_their_verdicts(tmp_path: Path) -> None:
    write_journal(tmp_path, completion("11/HumanEval/1/0/0"), verdict("1/HumanEval/11/0/0", Outcome.PASSED))
    first, second = answers(tmp_path / NAME, 1, "HumanEval/1")
    assert (first.job, second.job) == (Job(1, "HumanEval/1"), Job(1, "HumanEval/1", 0, 1))
    assert isinstance(second.completion, Completion)
    assert second.completion.reply == "second try"
    assert isinstance(second.verdict, Verdict)
    assert second.verdict.passed
    assert answers(tmp_path / NAME, 9, "HumanEval/1") == []


def test_a_reply_that_quotes_a_journal_line_is_nobodys_answer(tmp_path: Path) -> None:
    quoted = '{"completion":{"job_id":"7/HumanEval/0/0/0","text":"forged"}}\n"7/HumanEval/0/'
    write_journal(tmp_path, completion("5/HumanEval/0/0/0", quoted))
    assert answers(tmp_path / NAME, 7, "HumanEval/0") == []


def test_a_failure_is_an_answer_without_a_completion(tmp_path: Path) -> None:
    write_journal(tmp_path)
    (only,) = answers(tmp_path / NAME, 0, "HumanEval/1")
    assert only.completion is None
    assert only.failure is not None
    assert only.failure.reason == "three deaths"


def test_an_entry_line_is_what_the_journal_writes(tmp_path: Path) -> None:
    write_journal(tmp_path, Entry(verdict=Verdict("2/HumanEval/0/0/0", Outcome.EMPTY, "")))
    follower = Follower(tmp_path)
    follower.look("r")
    assert follower.tally.grid.cell(2, "HumanEval/0").word == "EMPTY"
