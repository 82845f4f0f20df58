"""`swarmeval.compare`: two finished runs on the same tasks."""

from pathlib import Path

from swarmeval.library.run import Run
from swarmeval.runs.finished_run import comparable
from swarmeval.scores.paired import Paired, paired


def compare(one: str | Path | Run, other: str | Path | Run) -> Paired:
    """Compare run B, `other`, with run A, `one`, as `python main.py compare A B` does.

    Gives the difference of pass@1 (B minus A, 0..1) with the 95 % interval of a paired bootstrap over tasks, the tasks
    that B gains and loses, and the p-value of McNemar's exact test on them.

    Raises:
        DataError: A folder holds no finished run, or their tasks, data or ways of judging differ.
        OutputError: A manifest cannot be read.
    """
    a, b = (run.folder if isinstance(run, Run) else Path(run) for run in (one, other))
    left, right = comparable(a, b)
    return paired(left.shares, right.shares)
