"""The table of a paper: one row per run, with pass@k and 95 % intervals in percent. Does not know any markup."""

from collections.abc import Sequence

from swarmeval.exports.exported_run import ExportedRun
from swarmeval.scores.stats import KS

UNDEFINED = "–"
PARTIAL = "*"
NOTE = "partial: some answers were not generated or not judged"


def table(runs: Sequence[ExportedRun]) -> tuple[list[str], list[list[str]], str]:
    """(headings, rows, a note or ""). A pass@k that no run has gets no column; runs are named if there are several."""
    ks = [k for k in KS if any(k in run.defined for run in runs)]
    several = len(runs) > 1
    headings = [*(["Run"] if several else []), "Model", "Benchmark", "Tasks", "Answers"]
    headings += [f"pass@{k} (95 % CI)" for k in ks]
    rows = [
        [
            *([run.folder.resolve().name] if several else []),
            (run.model or "imported replies") + (PARTIAL if run.score.get("partial") else ""),
            run.benchmark,
            _tasks(run),
            str(run.score["evaluations"]),
            *(_score(run, k) for k in ks),
        ]
        for run in runs
    ]
    note = f"{PARTIAL} {NOTE}" if any(run.score.get("partial") for run in runs) else ""
    return headings, rows, note


def _tasks(run: ExportedRun) -> str:
    total, in_all = run.score["total"], run.tasks_in_all
    return str(total) if in_all in (None, total) else f"{total} of {in_all}"


def _score(run: ExportedRun, k: int) -> str:
    value = run.score.get(f"pass@{k}")
    if value is None:
        return UNDEFINED
    interval = run.score.get("intervals", {}).get(f"pass@{k}")
    around = f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval else ""
    return f"{100 * value:.1f}{around}"
