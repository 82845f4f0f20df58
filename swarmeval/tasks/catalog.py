"""The registry of benchmarks: their sources and forms; loads a benchmark and selects its tasks."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from swarmeval.errors import ConfigError, DataError
from swarmeval.records import Suite, Task
from swarmeval.sandbox.interpreters import interpreter
from swarmeval.settings.released import Window, window
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks import bigcodebench, cruxeval, datasets, livecodebench, multipl_e
from swarmeval.tasks.assertions import refuse_idle
from swarmeval.tasks.datasets import Dataset, Keep, Row
from swarmeval.tasks.executed_rows import Custom
from swarmeval.tasks.forms import Completions, Form, Functions, SelfInvoking, unique
from swarmeval.tasks.infilling import RANDOM_SPANS, Infilling, line_spans, single_lines
from swarmeval.tasks.published import compared

HUMANEVAL, CUSTOM = "humaneval", "custom"
MIT, APACHE = "MIT", "Apache-2.0"
MBPP = ("google-research-datasets/mbpp", "full/test-00000-of-00001.parquet")
MBPP_PLUS = ("evalplus/mbppplus", "data/test-00000-of-00001-d5781c9c51e02795.parquet")
MBPP_TEST = range(11, 511)  # ids of the test split (google-research/mbpp, README)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One entry of the registry: its form and, if published there, its files on huggingface.co/datasets."""

    form: Form
    repo: str = ""
    file: str = ""
    more_files: tuple[str, ...] = ()
    licence: str = ""  # of the files, as their publisher names it; "" if that is not known
    of_humaneval: bool = False  # made from the installed HumanEval
    needed_file: str = "a file of tasks in HumanEval's format"  # what benchmark_file must name without another source


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """All or selected tasks of a benchmark, and their data file."""

    name: str
    dataset: Dataset
    tasks: tuple[Task, ...]
    total: int  # tasks in the whole benchmark, or in the window of release dates
    released: str = ""  # that window, or all months of the data; "" if the tasks have no dates
    licence: str = ""

    def facts(self) -> dict[str, object]:
        """The `data` entry of the manifest."""
        return {
            "benchmark": self.name,
            "sha256": self.dataset.sha256,
            "revision": self.dataset.revision or None,
            "tasks": len(self.tasks),
            "tasks_in_all": self.total,
            **({"released": self.released} if self.released else {}),
            **({"note": self.dataset.note} if self.dataset.note else {}),
        }


def base_humaneval(dataset: Dataset) -> dict[str, Suite]:
    """HumanEval's tests by "number/function"; HumanEval Pro uses the same numbers."""
    tasks = Completions().tasks(datasets.from_package())
    return {f"{number}/{task.entry_point}": task.suite for number, task in enumerate(tasks)}


def base_mbpp(dataset: Dataset) -> dict[str, Suite]:
    """Tests of the base problems of MBPP Pro, by function.

    They come from MBPP+, the source of MBPP Pro. For a local file they come from an mbpp.jsonl in the same folder, if
    there is one. A problem that MBPP+ changed has no matching tests there and is left out.
    """
    local_copy = dataset.path.with_name("mbpp.jsonl")
    if not dataset.revision and not local_copy.is_file():
        return {}
    source = datasets.from_hub(*MBPP_PLUS) if dataset.revision else compared(datasets.read(local_copy))
    return {task.entry_point: task.suite for task in reversed(Functions("").tasks(source))}


def _livecodebench(release: int) -> Benchmark:
    """A release, which contains the files of all earlier ones."""
    first, *more = livecodebench.FILES[:release]
    return Benchmark(livecodebench.LiveCodeBench(), livecodebench.REPO, first, tuple(more), licence="CC")


REGISTRY = {
    HUMANEVAL: Benchmark(Completions(), licence=MIT),
    "humaneval_plus": Benchmark(
        Completions(),
        "evalplus/humanevalplus",
        "data/test-00000-of-00001-5973903632b82d40.parquet",
        licence=APACHE,
    ),
    "humaneval_pro": Benchmark(
        SelfInvoking("HumanEvalPro/", base_humaneval),
        "CodeEval-Pro/humaneval-pro",
        "data/train-00000-of-00001.parquet",
        licence=MIT,
    ),
    "mbpp": Benchmark(Functions("MBPP/", MBPP_TEST), *MBPP, licence="CC-BY-4.0"),
    "mbpp_plus": Benchmark(Functions("Mbpp/"), *MBPP_PLUS, licence=APACHE),
    "mbpp_pro": Benchmark(
        SelfInvoking("MBPPPro/", base_mbpp), "CodeEval-Pro/mbpp-pro", "data/train-00000-of-00001.parquet", licence=MIT
    ),
    **{
        f"evoeval_{part}": Benchmark(Completions(), f"evoeval/EvoEval_{part}", "test.jsonl", licence=APACHE)
        for part in ("difficult", "creative", "subtle", "combine", "tool_use", "verbose", "concise")
    },
    **{
        f"multipl_e_{base}_{language}": Benchmark(
            multipl_e.MultiPLE(language),
            multipl_e.REPO,
            f"{base}-{language}/test-00000-of-00001.parquet",
            licence=MIT,
        )
        for base in ("humaneval", "mbpp")
        for language in multipl_e.LANGUAGES
    },
    "livecodebench": _livecodebench(len(livecodebench.FILES)),
    **{f"livecodebench_v{number}": _livecodebench(number) for number in range(1, len(livecodebench.FILES) + 1)},
    "cruxeval_i": Benchmark(cruxeval.InputPrediction(), cruxeval.REPO, cruxeval.FILE, licence=MIT),
    "cruxeval_o": Benchmark(cruxeval.OutputPrediction(), cruxeval.REPO, cruxeval.FILE, licence=MIT),
    "humaneval_infilling_single_line": Benchmark(
        Infilling("SingleLineInfilling/", single_lines), licence=MIT, of_humaneval=True
    ),
    "humaneval_infilling_multi_line": Benchmark(
        Infilling("MultiLineInfilling/", line_spans), licence=MIT, of_humaneval=True
    ),
    "humaneval_infilling_random_span": Benchmark(Infilling(), licence=MIT, needed_file=RANDOM_SPANS),
    **{
        f"bigcodebench_{part}{split}": Benchmark(
            bigcodebench.BigCodeBench(split), repo, bigcodebench.FILE, licence=licence
        )
        for part, repo, licence in (("", bigcodebench.REPO, APACHE), ("hard_", bigcodebench.HARD_REPO, ""))
        for split in bigcodebench.SPLITS
    },
    CUSTOM: Benchmark(Custom()),
}


def load(name: str, file: str | None = None, released: str | None = None) -> LoadedBenchmark:
    """Load the tasks of a benchmark, from a local `file` if given, and only those `released` in a window if given.

    Raises ConfigError or DataError.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(REGISTRY)}"
        raise ConfigError(f"benchmark is {name!r}; {hint}")
    benchmark = REGISTRY[name]
    is_dated = isinstance(benchmark.form, livecodebench.LiveCodeBench)
    if released is not None and not is_dated:
        raise ConfigError(f"released: the tasks of {name} have no dates; remove it, or set benchmark: livecodebench")
    dates = window(released) if released is not None else None
    dataset = _dataset(name, benchmark, file, dates)
    if not dataset.rows:
        raise ConfigError(f"released: {name} has no task from {dates}; choose other dates, or a newer release")
    tasks = unique(benchmark.form.tasks(dataset), dataset)
    if file is not None and name != HUMANEVAL:
        refuse_idle(tasks, dataset)
    found = str(dates or livecodebench.months(dataset.rows)) if is_dated else ""
    return LoadedBenchmark(name, dataset, tasks, len(tasks), found, benchmark.licence)


def _dataset(name: str, benchmark: Benchmark, file: str | None, dates: Window | None) -> Dataset:
    """The data file or files of a benchmark, without rows from outside a window. Raises ConfigError or DataError."""

    def keep(row: Row) -> bool:
        return dates is None or livecodebench.released(row) in dates

    if file is not None:
        return _local(name, Path(file), keep)
    if name == HUMANEVAL or benchmark.of_humaneval:
        return datasets.from_package()
    if benchmark.repo:
        return datasets.from_hub(benchmark.repo, benchmark.file, *benchmark.more_files, keep=keep)
    raise ConfigError(f"benchmark: {name} needs benchmark_file; set it to {benchmark.needed_file}")


def chosen(config: RunConfig) -> LoadedBenchmark:
    """Load the tasks that the settings select. Raises ConfigError, or DataError if too few exist or none match."""
    benchmark = load(config.benchmark, config.benchmark_file, config.released)
    tasks: Sequence[Task] = benchmark.tasks
    _check_judge_python(config, tasks)
    limit = config.task_limit()
    if limit is not None and limit > len(tasks):
        raise DataError(f"humaneval_limit is {limit}, but {_title(benchmark.name)} has {len(tasks)} tasks")
    tasks = tasks[:limit]
    if config.task_ids is not None:
        tasks = _matching(tasks, config.task_ids)
    return replace(benchmark, tasks=tuple(tasks))


def _check_judge_python(config: RunConfig, tasks: Sequence[Task]) -> None:
    """Raises ConfigError if judge_python is missing, not needed, or not a Python that programs can run under."""
    if config.judge_python is not None:
        if not any(task.language == "python" for task in tasks if task.executed is not None):
            raise ConfigError(f"judge_python: {config.benchmark} executes no Python programs; remove it")
        interpreter(config.judge_python)
    elif isinstance(REGISTRY[config.benchmark].form, bigcodebench.BigCodeBench):
        raise ConfigError(
            f"{config.benchmark} needs judge_python, a Python with the benchmark's packages (docs/bigcodebench.md)"
        )


def _local(name: str, path: Path, keep: Keep) -> Dataset:
    """Read a local copy. For HumanEval, only the published rows are accepted."""
    dataset = datasets.read(path, keep)
    if name == HUMANEVAL and dataset.rows != datasets.from_package().rows:
        raise DataError(f"{path}: not the published HumanEval; for your own tasks set benchmark: custom")
    return dataset if name == CUSTOM else compared(dataset)


def _matching(tasks: Sequence[Task], patterns: Sequence[str]) -> list[Task]:
    """The tasks that match a pattern. Raises DataError for a pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(task.task_id, pattern) for task in tasks):
            raise DataError(
                f"task_ids: {pattern!r} matches none of the {len(tasks)} tasks; the first is {tasks[0].task_id}"
            )
    return [task for task in tasks if any(fnmatchcase(task.task_id, pattern) for pattern in patterns)]


def _title(name: str) -> str:
    return "HumanEval" if name == HUMANEVAL else name
