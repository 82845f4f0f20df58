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
        file: A local copy of the data, as in the setting `benchmark_file`. If None, HumanEval comes from its installed
            package, and other benchmarks from the Hugging Face hub or its cache.
        limit: Load only this many tasks, the first ones. None loads all.
        task_ids: Load only tasks with these ids or patterns, such as "HumanEval/1?". None loads all.
        released: Load only tasks released in this window of dates, such as "2024-08..2025-01". For LiveCodeBench.
        judge_python: The Python interpreter that will run the programs. For BigCodeBench.

    Raises:
        ConfigError: The benchmark is unknown, or an argument does not apply to it.
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
