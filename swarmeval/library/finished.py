"""`swarmeval.compare`: two finished runs on the same tasks."""

from pathlib import Path

from swarmeval.library.run import Run
from swarmeval.runs.finished_run import comparable
from swarmeval.scores.paired import Paired, paired


def compare(one: str | Path | Run, other: str | Path | Run) -> Paired:
    """Compare two finished runs task by task, as `python main.py compare A B` does.

    Args:
        one: Run A, or its folder.
        other: Run B, or its folder.

    Returns:
        The difference of pass@1 (B minus A, from -1 to 1) with its 95 % interval, a paired bootstrap over tasks; the
        tasks that B gains and loses; and the p-value of McNemar's exact test on these.

    Raises:
        DataError: A folder holds no finished run, or the runs differ in tasks, data or judging.
        OutputError: A manifest cannot be read.
    """
    a, b = (run.folder if isinstance(run, Run) else Path(run) for run in (one, other))
    left, right = comparable(a, b)
    return paired(left.shares, right.shares)
