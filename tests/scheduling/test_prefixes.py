"""Prefixes of replies are judged once each, after the run, and never again on a resume."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from swarmeval.records import Completion, Outcome, Suite, Task, Verdict
from swarmeval.runs.journal import NAME, Entry, Journal, PrefixVerdicts, entries
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prefixes import NAME as PREFIXES
from swarmeval.runs.prefixes import PrefixStore
from swarmeval.runs.result_files import write
from swarmeval.scheduling.prefixes import judge_prefixes
from swarmeval.settings.run_config import RunConfig

PLAN = Plan(make_agents(RunConfig(num_agents=2)), [Task(f"T/{n}", "def f():\n", Suite("f", "")) for n in range(2)])
MARKS = ((1, 2), (2, 4), (4, 6))


class Judges:
    """Passes texts of at least four characters. `slow` texts exceed the short limit of their first try."""

    def __init__(self, slow: Sequence[str] = ()) -> None:
        self.judged: Counter[tuple[str, str]] = Counter()  # by task and text
        self._slow = slow

    async def judge(self, completion: Completion, hurried: bool) -> Verdict:
        await asyncio.sleep(0)
        self.judged[completion.job_id.split("/", 1)[1], completion.reply] += 1
        if hurried and completion.reply in self._slow:
            return Verdict(completion.job_id, Outcome.TIMED_OUT, "")
        return Verdict(completion.job_id, Outcome.PASSED if len(completion.reply) >= 4 else Outcome.BAD_SYNTAX, "")


def journaled(folder: Path, replies: dict[str, tuple[str, int, bool]]) -> Ledger:
    """A run with these replies: text, output tokens, and whether it passed."""
    ledger = Ledger(PLAN)
    with Journal(folder) as journal:
        for job_id, (text, tokens, passed) in replies.items():
            marks = tuple((at, min(characters, len(text))) for at, characters in MARKS if at < tokens)
            completion = Completion(job_id, text, output_tokens=tokens, latency_s=1.0, marks=marks)
            verdict = Verdict(job_id, Outcome.PASSED if passed else Outcome.WRONG_ANSWER, "")
            for entry in (Entry(completion=completion), Entry(verdict=verdict)):
                journal.append(entry)
                ledger.add(entry)
    return ledger


def judged(folder: Path, judges: Judges, drain_after: int | None = None) -> bool:
    tasks: list[str] = []
    with PrefixStore(folder, PLAN) as store:
        return asyncio.run(
            judge_prefixes(folder / NAME, PLAN, store, judges.judge, 2, lambda: len(tasks) == drain_after, tasks.append)
        )


def kept(folder: Path) -> list[PrefixVerdicts]:
    return [entry.prefixes for _, entry in entries(folder / PREFIXES) if entry.prefixes is not None]


FOUR = {
    "0/T/0/0/0": ("abcdefgh", 8, True), "1/T/0/0/0": ("abcdXXXX", 8, False),
    "0/T/1/0/0": ("abcdefgh", 8, True), "1/T/1/0/0": ("ab", 1, False),
}  # fmt: skip
SHORT, LONG = (1, Outcome.BAD_SYNTAX), ((2, Outcome.PASSED), (4, Outcome.PASSED))


def test_each_distinct_prefix_of_a_task_is_judged_once(tmp_path: Path) -> None:
    journaled(tmp_path, FOUR)
    judges = Judges()
    assert judged(tmp_path, judges)
    assert set(judges.judged.values()) == {1}
    # "ab" of task 1 is the whole reply of the other agent, whose verdict it takes.
    texts = {("T/0/0/0", text) for text in ("ab", "abcd", "abcdef", "abcdXX")}
    assert set(judges.judged) == texts | {("T/1/0/0", text) for text in ("abcd", "abcdef")}
    assert kept(tmp_path) == [
        PrefixVerdicts("0/T/0/0/0", (SHORT, *LONG)),
        PrefixVerdicts("1/T/0/0/0", (SHORT, *LONG)),
        PrefixVerdicts("0/T/1/0/0", ((1, Outcome.WRONG_ANSWER), *LONG)),
    ]


def test_a_resume_judges_only_what_is_missing(tmp_path: Path) -> None:
    journaled(tmp_path, FOUR)
    assert not judged(tmp_path, Judges(), drain_after=1)
    assert [verdicts.job_id for verdicts in kept(tmp_path)] == ["0/T/0/0/0", "1/T/0/0/0"]
    rest = Judges()
    assert judged(tmp_path, rest)
    assert {task for task, _ in rest.judged} == {"T/1/0/0"}
    again = Judges()
    assert judged(tmp_path, again)
    assert not again.judged


def test_a_prefix_that_needs_more_time_gets_the_full_limit(tmp_path: Path) -> None:
    journaled(tmp_path, {"0/T/0/0/0": ("abcdefgh", 8, True)})
    judges = Judges(slow=["abcd"])
    assert judged(tmp_path, judges)
    assert judges.judged["T/0/0/0", "abcd"] == 2
    assert kept(tmp_path)[0].outcomes == (SHORT, *LONG)


def test_judged_prefixes_raise_the_curve_but_not_the_score(tmp_path: Path) -> None:
    ledger = journaled(tmp_path, FOUR)
    without = write(tmp_path, tmp_path / NAME, ledger, {})
    assert judged(tmp_path, Judges())
    score = write(tmp_path, tmp_path / NAME, ledger, {})
    assert isinstance(score["budgets"], dict)
    assert isinstance(without["budgets"], dict)
    curve = score["budgets"].pop("output_tokens_with_prefixes")
    assert score == without
    assert (curve["budgets"], curve["pass@1"]) == ([1, 2, 4, 8], [0.0, 0.75, 0.75, 0.5])
    assert (curve["ended"], "incomplete" in curve) == ([0.25, 0.25, 0.25, 1.0], False)


def test_replies_without_marks_have_no_curve_of_prefixes(tmp_path: Path) -> None:
    ledger = journaled(tmp_path, {"0/T/0/0/0": ("abc", 1, True)})
    assert judged(tmp_path, Judges())
    assert kept(tmp_path) == []
    score = write(tmp_path, tmp_path / NAME, ledger, {})
    assert isinstance(score["budgets"], dict)
    assert isinstance(score["undefined"], dict)
    assert list(score["budgets"]) == ["output_tokens", "seconds"]
    assert score["undefined"]["budgets.output_tokens_with_prefixes"] == (
        "no reply says what it had written after 1, 2, 4, ... tokens"
    )
