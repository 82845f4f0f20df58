"""Reads imported replies: one JSON object per line, in one of three forms (docs/scoring.md)."""

import codecs
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from swarmeval.errors import DataError
from swarmeval.records import Agent, Completion, Form, Job, Task
from swarmeval.surrogates import note, without_lone

FORMS: tuple[Form, ...] = ("reply", "completion", "solution")


class _ReplyLine(msgspec.Struct):
    """One line. Unknown fields are ignored because other tools add their own."""

    task_id: str
    reply: str | None = None
    completion: str | None = None
    solution: str | None = None
    agent_id: int = 0
    sample: int | None = None


NAMES = _ReplyLine.__struct_fields__
INTEGER_DIGITS = 4_000  # below Python's default limit of 4,300 for int()
_decoder = msgspec.json.Decoder(_ReplyLine)


def read_replies(path: Path, task_ids: Collection[str], whole: str = "in the benchmark") -> Iterator[Completion]:
    """Yield one Completion per line, skipping blank lines. Holds one line in memory at a time.

    A line without `sample` gets the number of its agent's earlier replies to the task. `whole` describes the set of
    known tasks in messages. Raises DataError.
    """
    running: Counter[tuple[int, str]] = Counter()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    yield _completion(text, f"{path}, line {number}", task_ids, whole, running)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def given_replies(
    replies: Iterable[Mapping[str, object]], task_ids: Collection[str], whole: str = "in the benchmark"
) -> Iterator[Completion]:
    """Yield one Completion per reply, given as the fields of a line (see read_replies). Raises DataError."""
    running: Counter[tuple[int, str]] = Counter()
    for number, reply in enumerate(replies, start=1):
        where = f"reply {number}"
        try:
            text = json.dumps({name: reply[name] for name in NAMES if name in reply}).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{where}: not a reply ({error}); docs/scoring.md shows the forms") from None
        yield _completion(text, where, task_ids, whole, running)


def _completion(
    text: bytes, where: str, task_ids: Collection[str], whole: str, running: Counter[tuple[int, str]]
) -> Completion:
    try:
        line = _line(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not a reply ({error}); docs/scoring.md shows the forms") from None
    forms = [form for form in FORMS if getattr(line, form) is not None]
    if len(forms) != 1:
        raise DataError(f"{where}: has {' and '.join(forms) or 'no reply'}; give exactly one of {', '.join(FORMS)}")
    if line.task_id not in task_ids:
        raise DataError(f"{where}: task_id {line.task_id!r} is not {whole}")
    sample = running[line.agent_id, line.task_id] if line.sample is None else line.sample
    if line.agent_id < 0 or sample < 0:
        raise DataError(f"{where}: agent_id and sample must be 0 or greater")
    running[line.agent_id, line.task_id] += 1
    job = Job(line.agent_id, line.task_id, sample)
    reply, replaced = without_lone(str(getattr(line, forms[0])))
    return Completion(job.job_id, reply, forms[0], note=note(replaced))


def _line(text: bytes) -> _ReplyLine:
    """Parse one line. Other fields may hold NaN and Infinity, as Python writes them, and numbers of any size.

    Lone surrogates are kept. Raises ValueError, RecursionError.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            data = json.loads(text.decode("utf-8", "surrogatepass"), parse_int=_integer)
        except ValueError:
            raise error from None  # msgspec's message, so that all bad lines are described alike
        needed = {name: data[name] for name in NAMES if name in data} if isinstance(data, dict) else data
        return msgspec.convert(needed, _ReplyLine)


def _integer(digits: str) -> int | None:
    """Parse an integer; None if it has more than INTEGER_DIGITS digits."""
    return int(digits) if len(digits) <= INTEGER_DIGITS else None


class ListedJobs:
    """An arbitrary set of jobs, ordered by task (in benchmark order), agent and sample."""

    def __init__(self, tasks: Sequence[Task], jobs: Sequence[Job], missing_fail: bool = False) -> None:
        """`missing_fail`: whether tasks without a job count as failed. Raises ValueError if a job is listed twice."""
        place = {task.task_id: number for number, task in enumerate(tasks)}
        self._jobs = sorted(jobs, key=lambda job: (place[job.task_id], job.agent_id, job.sample))
        self._numbers = {job.job_id: k for k, job in enumerate(self._jobs)}
        if len(self._numbers) < len(self._jobs):
            twice, _ = Counter(job.job_id for job in jobs).most_common(1)[0]
            raise ValueError(f"job {twice} is listed twice")
        answered = {job.task_id for job in jobs}
        self.tasks = tuple(task for task in tasks if task.task_id in answered)
        self.missing = tuple(task.task_id for task in tasks if task.task_id not in answered)
        self.failed_tasks = len(self.missing) if missing_fail else 0
        self._of_agent: dict[int, list[int]] = {}
        for k, job in enumerate(self._jobs):
            self._of_agent.setdefault(job.agent_id, []).append(k)
        self.agents = tuple(Agent(id=number, seed=0) for number in sorted(self._of_agent))

    @property
    def total(self) -> int:
        return len(self._jobs)

    @property
    def room(self) -> int:
        """The same as `total`: imported replies are not repaired."""
        return self.total

    def job(self, k: int) -> Job:
        return self._jobs[k]

    def number(self, job_id: str) -> int:
        """The number of a job. Raises KeyError if the job is not listed."""
        return self._numbers[job_id]

    def jobs_of_agent(self, agent_id: int) -> Sequence[Sequence[int]]:
        """The job numbers of one agent, ascending."""
        return [self._of_agent[agent_id]]
