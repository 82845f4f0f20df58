"""Finds out which tool wrote a file of answers, and converts them to completions of known tasks (docs/scoring.md)."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from swarmeval.errors import DataError
from swarmeval.records import Completion, Form, Job, Task
from swarmeval.runs import foreign_samples
from swarmeval.runs.foreign_samples import ForeignSample
from swarmeval.runs.reply_file import read_replies
from swarmeval.surrogates import note, without_lone

AUTO, JSONL, EVALPLUS, LM_EVAL, BIGCODE, INSPECT = "auto", "jsonl", "evalplus", "lm-eval", "bigcode", "inspect"
READERS: dict[str, Callable[[Path], Iterator[ForeignSample]]] = {
    EVALPLUS: foreign_samples.evalplus,
    LM_EVAL: foreign_samples.lm_eval,
    BIGCODE: foreign_samples.bigcode,
    INSPECT: foreign_samples.inspect,
}
HEAD = 4096  # bytes that are enough to know a format
ZIP = b"PK\x03\x04"
BEGINNINGS = {
    BIGCODE: re.compile(rb"\s*\["),
    LM_EVAL: re.compile(rb'\s*\{\s*"doc_id":'),
    INSPECT: re.compile(rb'\s*\{\s*"version":\s*\d+,\s*"status":'),
    EVALPLUS: re.compile(rb'\s*\{\s*"date":\s*"[^"]*",\s*"hash":'),
}


def detected(path: Path) -> str:
    """The format of a file or folder, by its first bytes. Raises DataError if it cannot be read."""
    if path.is_dir():
        return EVALPLUS
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if head.startswith(ZIP):
        return INSPECT
    if path.name.endswith(f"{foreign_samples.RAW}.jsonl"):
        return EVALPLUS
    return next((name for name, beginning in BEGINNINGS.items() if beginning.match(head)), JSONL)


def stated(path: Path, form: str) -> str:
    """The format to read a file in, if `form` was stated for it. EvalPlus's samples have the form of our own files."""
    if form == AUTO:
        return detected(path)
    return JSONL if form == EVALPLUS and detected(path) == JSONL else form


def digest(path: Path) -> str:
    """The sha256 of a file, or of the names and contents of the files in a folder."""
    if path.is_dir():
        names = (file for file in sorted(path.rglob("*")) if file.is_file())
        parts = (f"{file.relative_to(path)} {digest(file)}\n" for file in names)
        return hashlib.sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SampleReader:
    """Reads a file of answers to the selected tasks of a benchmark, in any of the formats."""

    def __init__(self, path: Path, form: str, tasks: Sequence[Task], whole: str = "in the benchmark") -> None:
        """`form` is the result of `stated`; `whole` describes the set of tasks in messages."""
        self._path, self._form, self._whole, self._tasks = path, form, whole, tasks
        self._by_id = {task.task_id: task for task in tasks}
        numbers = Counter(task.task_id.rpartition("/")[2] for task in tasks)
        self._by_number = {
            number: task for task in tasks if numbers[number := task.task_id.rpartition("/")[2]] == 1
        }  # fmt: skip
        self.without_answer: list[str] = []  # samples for which the other harness has only an error

    def completions(self, known: Collection[str] | None = None) -> Iterator[Completion]:
        """Yield the answers, one at a time. `known`: the ids of tasks that may have one. Raises DataError."""
        known = self._by_id.keys() if known is None else known
        self.without_answer.clear()
        if self._form == JSONL:
            yield from read_replies(self._path, known, self._whole)
            return
        running: Counter[str] = Counter()
        for sample in READERS[self._form](self._path):
            task = self._task(sample)
            if task is None or task.task_id not in known:
                raise DataError(f"{sample.where}: task_id {sample.task!r} is not {self._whole}")
            number = running[task.task_id] if sample.number is None else sample.number
            running[task.task_id] += 1
            if sample.text is None:
                self.without_answer.append(sample.where)
                continue
            text, replaced = without_lone(sample.text)
            form, code = meant(text, sample, task)
            yield Completion(Job(0, task.task_id, number).job_id, code, form, note=note(replaced))

    def _task(self, sample: ForeignSample) -> Task | None:
        if isinstance(sample.task, str):
            return self._by_id.get(sample.task) or self._by_number.get(sample.task)
        if sample.task >= len(self._tasks):
            raise DataError(
                f"{sample.where}: only {len(self._tasks)} tasks are selected; bigcode's lists follow the order of tasks"
            )
        return self._tasks[sample.task]


def meant(text: str, sample: ForeignSample, task: Task) -> tuple[Form, str]:
    """(the form of a text, the text in that form).

    A program that continues the prompt becomes that completion, so that exactly this program is judged.
    """
    completion = None if sample.meaning == "reply" else continued(text, task)
    if completion is not None:
        return "completion", completion
    return ("solution" if sample.meaning == "program" else "reply"), text


def continued(program: str, task: Task) -> str | None:
    """The text after the prompt in a program that begins with it; None if it does not.

    bigcode removes white space around the prompt, and EvalPlus leaves one newline after it.
    """
    if not task.prompt.strip():
        return None
    if program.startswith(task.prompt):
        rest = program.removeprefix(task.prompt)
    else:
        start, after = task.prompt.strip(), task.prompt[len(task.prompt.rstrip()) :]
        if not program.startswith(start + after):
            return None
        rest = program.removeprefix(start + after)
    return rest.removesuffix(task.ending)
