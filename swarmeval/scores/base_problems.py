"""Scores of the base problems of self-invoking tasks, compared with the new problems in the same replies."""

import math
from collections import Counter

from swarmeval.records import Job, Outcome, Verdict
from swarmeval.scores.intervals import of_counts

BOTH = {(True, True): "both", (True, False): "base_only", (False, True): "new_only", (False, False): "neither"}


class Bases:
    """Accumulates verdicts on base problems, per task."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}  # [verdicts, passes]
        self._both: Counter[str] = Counter()

    def add(self, job: Job, verdict: Verdict) -> None:
        """Count a verdict if it also judges a base problem."""
        if verdict.base is None:
            return
        passed = verdict.base is Outcome.PASSED
        counts = self._counts.setdefault(job.task_id, [0, 0])
        counts[0] += 1
        counts[1] += passed
        self._both[BOTH[passed, verdict.passed]] += 1

    def facts(self) -> dict[str, object]:
        """Entries for score.json; empty without base problems.

        pass@1 of the base problems with its interval, and the number of replies that solve both problems, only one,
        or neither (arXiv 2412.21199, section 5.1).
        """
        if not self._counts:
            return {}
        counts = [(n, c) for n, c in self._counts.values()]
        shares = [c / n for n, c in counts]
        return {
            "base": {
                "pass@1": math.fsum(shares) / len(shares),
                "pass@1_interval": list(of_counts(counts, shares)),
                "total": len(counts),
                "replies": {word: self._both[word] for word in BOTH.values()},
            }
        }
