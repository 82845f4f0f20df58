"""`swarmeval.load_tasks`: the tasks of a benchmark."""

from collections.abc import Sequence
from pathlib import Path

from swarmeval.records import Task
from swarmeval.settings.loading import validate
from swarmeval.tasks.catalog import chosen


def load_tasks(
    benchmark: str = "humaneval",
    *,
    file: str | Path | None = None,
    limit: int | None = None,
    task_ids: Sequence[str] | None = None,
    released: str | None = None,
    judge_python: str | None = None,
) -> tuple[Task, ...]:
    """Load the tasks of a benchmark, in its own order.

    Args:
        benchmark: A name as in the setting `benchmark`, or "custom" for a `file` of your own.
        file: A local copy of the data, as in `benchmark_file`. None: the installed package (HumanEval), or the Hugging
            Face hub and its cache.
        limit: The number of tasks, from the first one on. None: all.
        task_ids: Names or patterns such as "HumanEval/1?". None: all.
        released: A window of release dates, for LiveCodeBench.
        judge_python: The interpreter that will run the programs, which BigCodeBench needs.

    Raises:
        ConfigError: The benchmark is unknown, or does not have what an argument asks for.
        DataError: The data is missing, altered or malformed, or has fewer tasks than `limit`.
    """
    given = {
        "benchmark": benchmark,
        "benchmark_file": None if file is None else str(file),
        "humaneval_limit": limit,
        "task_ids": None if task_ids is None else list(task_ids),
        "released": released,
        "judge_python": judge_python,
    }
    return chosen(validate({key: value for key, value in given.items() if value is not None}, "load_tasks")).tasks
