"""`swarmeval.score`: judges replies and computes pass@k, in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from swarmeval.errors import DataError
from swarmeval.library.benchmarks import load_tasks
from swarmeval.library.judge import Judge
from swarmeval.records import Completion, Task, Verdict, parse_job_id
from swarmeval.runs.journal import Entry
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.reply_file import ListedJobs, given_replies, read_replies
from swarmeval.runs.result_files import score_of
from swarmeval.scores.intervals import Interval
from swarmeval.scores.missing import FAIL, WARN
from swarmeval.scores.stats import KS


@dataclass(frozen=True, slots=True)
class Score:
    """The score of judged replies, as in score.json."""

    pass_at_k: dict[int, float | None]  # for k = 1, 10 and 100; None if a task has fewer than k replies
    intervals: dict[int, Interval | None]  # 95 %, over tasks
    undefined: dict[str, str]  # the reasons for values that are None, by name: "pass@10"
    tasks: int  # with a verdict
    replies: int
    passed: int
    outcomes: dict[str, int]
    missing_tasks: tuple[str, ...]  # without a reply; they count as unsolved with missing="fail"
    verdicts: tuple[Verdict, ...]  # in the order of the replies

    @property
    def pass_at_1(self) -> float | None:
        return self.pass_at_k[1]


def score(
    replies: str | Path | Iterable[Mapping[str, object]],
    tasks: str | Sequence[Task] = "humaneval",
    *,
    missing: Literal["warn", "fail"] = "warn",
    judge: Judge | None = None,
) -> Score:
    """Judge replies and compute pass@k with intervals, as `python main.py score` does, but without a run folder.

    Args:
        replies: A JSON Lines file, or the fields of its lines: `task_id` and one of `reply`, `completion` and
            `solution`; `agent_id` and `sample` are optional.
        tasks: A benchmark's name, or tasks, for example from load_tasks().
        missing: "fail" counts tasks without a reply as unsolved; "warn" leaves them out of the score. Both list them in
            `missing_tasks`.
        judge: The judge to use; it stays open. None uses one with the default settings for this call only.

    Raises:
        ConfigError: The benchmark is unknown, or a toolchain is missing.
        DataError: A reply is malformed or answers none of the tasks, two replies are the same sample of an agent for a
            task, two tasks have the same task_id, or there are no replies.
        SandboxError: Programs cannot be run here.
        ValueError: `missing` is unknown.
    """
    if missing not in (WARN, FAIL):
        raise ValueError(f"missing is {missing!r}; use {WARN} or {FAIL}")
    of_benchmark = load_tasks(tasks) if isinstance(tasks, str) else tuple(tasks)
    known = {task.task_id: task for task in of_benchmark}
    if len(known) < len(of_benchmark):
        twice, _ = Counter(task.task_id for task in of_benchmark).most_common(1)[0]
        raise DataError(f"score: two tasks have the task_id {twice!r}; give each its own")
    completions = _read(replies, known)
    jobs = _listed(of_benchmark, completions, missing == FAIL)
    languages = {task.language for task in jobs.tasks if task.executed is not None}
    with Judge(languages=languages) if judge is None else nullcontext(judge) as judging:
        verdicts = judging.judge_completions(
            [(completion, known[parse_job_id(completion.job_id).task_id]) for completion in completions]
        )
    return _scored(jobs, completions, verdicts)


def _read(replies: str | Path | Iterable[Mapping[str, object]], known: Mapping[str, Task]) -> list[Completion]:
    if isinstance(replies, str | Path):
        found = list(read_replies(Path(replies), known))
        where = f"{replies}: contains"
    else:
        found = list(given_replies(replies, known, "among the tasks"))
        where = "score: there are"
    if not found:
        raise DataError(f"{where} no replies")
    return found


def _listed(tasks: Sequence[Task], completions: Sequence[Completion], missing_fail: bool) -> ListedJobs:
    try:
        return ListedJobs(tasks, [parse_job_id(completion.job_id) for completion in completions], missing_fail)
    except ValueError as error:
        raise DataError(f"score: {error}; give its replies different values of sample") from None


def _scored(jobs: ListedJobs, completions: Sequence[Completion], verdicts: Sequence[Verdict]) -> Score:
    ledger = Ledger(jobs)
    for completion, verdict in zip(completions, verdicts, strict=True):
        ledger.add(Entry(completion=completion))
        ledger.add(Entry(verdict=verdict))
    facts = cast(dict[str, Any], score_of(ledger, (), {}, {}))
    ends = {k: facts["intervals"][f"pass@{k}"] for k in KS}
    return Score(
        pass_at_k={k: facts[f"pass@{k}"] for k in KS},
        intervals={k: None if interval is None else (interval[0], interval[1]) for k, interval in ends.items()},
        undefined={key: reason for key, reason in facts["undefined"].items() if key.startswith("pass@")},
        tasks=facts["total"],
        replies=facts["evaluations"],
        passed=facts["passed"],
        outcomes=facts["outcomes"],
        missing_tasks=tuple(jobs.missing),
        verdicts=tuple(verdicts),
    )
