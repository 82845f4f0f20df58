"""Everything that score.json and task_summary.json say about the answers of a run, gathered in one pass."""

from collections import Counter
from pathlib import Path

from swarmeval.records import NOT_GENERATED, Completion, Failure, Job, Outcome, Verdict
from swarmeval.runs.audit import AuditFacts
from swarmeval.runs.ledger import Jobs
from swarmeval.runs.prefixes import JudgedPrefixes
from swarmeval.runs.repair_rounds import Rounds
from swarmeval.scores.base_problems import Bases
from swarmeval.scores.budgets import BudgetCurves
from swarmeval.scores.prefix_budgets import NAME as PREFIXES
from swarmeval.scores.prefix_budgets import PrefixCurve
from swarmeval.scores.profiles import Profiles
from swarmeval.scores.reasoning import Reasoning
from swarmeval.scores.spending import Spending
from swarmeval.scores.truncation import Truncation


class Tallies:
    """Accumulates the answers of all rounds, job by job. Only rounds and costs count repairs.

    The curves need the answers twice: `add` measures their ranges, then `count` counts the judged first answers.
    """

    def __init__(self, jobs: Jobs, folder: Path, spending: Spending, prefixes: JudgedPrefixes) -> None:
        """Read the audit in `folder`, if there is one. Raises OutputError."""
        self._curves, self._prefix_curve = BudgetCurves(spending), PrefixCurve()
        self._spending, self._prefixes = spending, prefixes
        self._outcomes: dict[str, Counter[str]] = {task.task_id: Counter() for task in jobs.tasks}
        self._profiles, self._bases, self._audit = Profiles(jobs.agents), Bases(), AuditFacts(folder)
        self._rounds = Rounds(jobs.room // jobs.total if jobs.total else 1)
        self._truncation, self._reasoning = Truncation(), Reasoning()
        self._unconfirmed = 0

    def add(self, job: Job, answer: Completion | Failure, verdict: Verdict | None) -> None:
        self._rounds.add(job, answer, verdict)
        if isinstance(answer, Completion):
            self._spending.add(answer)
        if job.round > 0:
            return
        if isinstance(answer, Failure):
            self._outcomes[job.task_id][NOT_GENERATED] += 1
            return
        self._reasoning.add(answer)
        if verdict is not None:
            self._outcomes[job.task_id][str(verdict.outcome)] += 1
            self._truncation.add(job.task_id, answer, verdict.passed)
            self._curves.measure(answer)
            self._profiles.add(job, verdict.passed)
            self._bases.add(job, verdict)
            self._audit.add(answer, verdict)
            self._unconfirmed += verdict.unconfirmed

    def count(self, job: Job, answer: Completion, passed: bool) -> None:
        """Count a judged first answer for the curves."""
        self._curves.add(job.task_id, answer, passed)
        if self._prefixes.were_wanted:
            self._prefix_curve.add(job.task_id, answer, passed, self._prefixes.of(job.job_id))

    def facts(self) -> dict[str, object]:
        """Entries of score.json, after all calls of `count`."""
        prefixes = self._prefix_curve.facts()
        curves = {**self._curves.facts(), **({PREFIXES: prefixes} if prefixes else {})}
        return {
            "truncation": self._truncation.facts(),
            **self._reasoning.facts(),
            **({"budgets": curves} if curves else {}),
            **({"unconfirmed": self._unconfirmed} if self._unconfirmed else {}),
            **self._profiles.facts(),
            **self._bases.facts(),
            **self._rounds.facts(),
            **self._audit.facts(),
        }

    def undefined(self) -> dict[str, str]:
        """The reasons for entries that are None."""
        cut, prefixes = self._truncation.reason(), self._prefix_curve.reason()
        return {
            **({"truncation": cut} if cut else {}),
            **self._curves.undefined(),
            **({f"budgets.{PREFIXES}": prefixes} if prefixes and self._prefixes.were_wanted else {}),
        }

    def tasks(self) -> dict[str, dict[str, object]]:
        """The summary of each task: verdicts, passes, pass@1, cut replies and outcomes."""
        return {
            task_id: {**task_summary(outcomes), "truncation": self._truncation.of_task(task_id)}
            for task_id, outcomes in self._outcomes.items()
        }


def task_summary(outcomes: Counter[str]) -> dict[str, object]:
    """The summary of one task by its outcomes."""
    judged = outcomes.total() - outcomes[NOT_GENERATED]
    passed = outcomes[Outcome.PASSED]
    counts = {str(outcome): count for outcome, count in sorted(outcomes.items()) if count}
    return {"verdicts": judged, "passed": passed, "pass@1": passed / judged if judged else None, "outcomes": counts}
