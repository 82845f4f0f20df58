"""The items of POST /v1/verdicts: validation, and translation into tasks and completions.

A stated task has the form of a row of the `custom` benchmark. An item chooses neither commands nor places outside its
program's folder: a language is a name on the server's list, and a path is relative to that folder.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from swarmeval.executed import Executed
from swarmeval.handling import Handling
from swarmeval.records import Completion, Form, Task
from swarmeval.sandbox.executed.warden import CHECKER_LIMITS
from swarmeval.sandbox.languages import languages
from swarmeval.serving.errors import BadRequest
from swarmeval.serving.judge.bodies import decoded
from swarmeval.tasks.executed_rows import MARKS, ExecutedRow, faults, task, unsafe
from swarmeval.tasks.forms import CompletionRow, completion_task

STATED = "\0stated"  # id of every stated task; no benchmark has it
JOB = f"0/{STATED}/0/0"
FORMS: tuple[Form, ...] = ("reply", "completion", "solution")
ID_CHARS = 256
PARSED_CHARS = 1 << 16  # of a stated text that the server itself parses
TESTS_CHARS = 1 << 18  # of stated tests that continue an answer in another language, which are split into statements
MOST_STOPS = 64  # texts that end a completion
ARGUMENT_BYTES = 1 << 15  # of all arguments of a case; the kernel accepts more
POINTER_BYTES = 8  # that each argument takes besides its text
MOST_FILES = 512  # beside a program
PART_BYTES, PATH_BYTES = 255, 1024  # of a file's name, and of its path
MOST_PARTS = 32  # of a path
LONGEST_S = 3600.0  # that all cases of an item may take together
LEAST_CASE_S = 0.5  # that a case counts for: starting a process takes time too
LEAST_MEMORY_MB = 64


class Item(Struct, forbid_unknown_fields=True):
    """One answer to judge, and the task that it answers."""

    id: str | int
    task: str | dict[str, Any]  # id of a task of the served benchmark, or a stated task
    reply: str | None = None
    completion: str | None = None
    solution: str | None = None
    files: dict[str, str] | None = None  # an executed program in several files
    timeout_s: float | None = None
    memory_mb: int | None = None


class VerdictRequest(Struct, forbid_unknown_fields=True):
    """The body of POST /v1/verdicts."""

    items: list[Item]


class StatedCalls(Struct, forbid_unknown_fields=True):
    """A stated task whose tests call a Python function: the fields of a row in HumanEval's form."""

    entry_point: str
    test: str
    prompt: str = ""
    canonical_solution: str = ""


@dataclass(frozen=True, slots=True)
class Maxima:
    """The server's limits for one item."""

    timeout_s: float
    memory_mb: int
    batch: int


@dataclass(frozen=True, slots=True)
class Work:
    """One item, ready to be judged."""

    item_id: str | int
    task: Task
    completion: Completion
    handling: Handling


def read_batch(
    body: bytes, client: str, tasks: Mapping[str, Task], offered: Collection[str], maxima: Maxima
) -> list[Work]:
    """The items of a client's body. `offered`: languages of executed programs. Raises BadRequest for all of them."""
    try:
        items = decoded(body, VerdictRequest).items
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not a valid batch: {error}") from None
    if not 1 <= len(items) <= maxima.batch:
        raise BadRequest(f"items has {len(items)} entries; use 1 to {maxima.batch} (judge_service.batch)", "items")
    works = []
    for number, item in enumerate(items):
        try:
            works.append(work_of(item, client, tasks, offered, maxima))
        except ValueError as error:
            raise BadRequest(f"items[{number}]: {error}", f"items[{number}]") from None
    if len({work.item_id for work in works}) < len(works):
        raise BadRequest("two items have the same id; verdicts arrive in any order, so ids must differ", "items")
    return works


def work_of(item: Item, client: str, tasks: Mapping[str, Task], offered: Collection[str], maxima: Maxima) -> Work:
    """One item, checked. Raises ValueError."""
    if len(str(item.id)) > ID_CHARS:
        raise ValueError(f"id is longer than {ID_CHARS} characters")
    if isinstance(item.task, str):
        if item.task not in tasks:
            raise ValueError(f"task {item.task[:ID_CHARS]!r} is not in the benchmark of this server; state its tests")
        answered = tasks[item.task]
    else:
        answered = stated_task(item.task, offered, maxima)
    form, text, answered = _answer(item, answered)
    own_s = maxima.timeout_s
    if answered.executed is not None:
        own_s = answered.executed.timeout_s or own_s
    part = 1.0
    if item.timeout_s is not None:
        part = min(1.0, checked_timeout("timeout_s", item.timeout_s, maxima) / own_s)
    if item.memory_mb is not None:
        checked_memory("memory_mb", item.memory_mb, maxima)
        if answered.executed is not None:
            most = min(item.memory_mb, answered.executed.memory_mb or item.memory_mb)
            answered = replace(answered, executed=replace(answered.executed, memory_mb=most))
    memory_mb = item.memory_mb if answered.executed is None else None
    owner = "" if isinstance(item.task, str) else client  # stated tests may be hostile to those of others
    return Work(item.id, answered, Completion(JOB, text, form), Handling(part, memory_mb=memory_mb, owner=owner))


def checked_timeout(name: str, timeout_s: float, maxima: Maxima) -> float:
    if not 0 < timeout_s <= maxima.timeout_s:
        raise ValueError(f"{name} is {timeout_s:g}; use more than 0 and at most {maxima.timeout_s:g} (eval_timeout)")
    return timeout_s


def checked_memory(name: str, memory_mb: int, maxima: Maxima) -> int:
    least = min(LEAST_MEMORY_MB, maxima.memory_mb)
    if not least <= memory_mb <= maxima.memory_mb:
        raise ValueError(f"{name} is {memory_mb}; use {least} to {maxima.memory_mb} (eval_memory_mb)")
    return memory_mb


def stated_task(row: dict[str, Any], offered: Collection[str], maxima: Maxima) -> Task:
    """The task that a request states. Raises ValueError."""
    row = {key: value for key, value in row.items() if key != "task_id"}
    try:
        if not any(mark in row for mark in MARKS):
            stated = msgspec.convert(row, StatedCalls)
            check_length("task.prompt", stated.prompt, PARSED_CHARS)
            check_length("task.entry_point", stated.entry_point, ID_CHARS)
            if not stated.entry_point.isidentifier():
                raise ValueError(f"task.entry_point is {stated.entry_point[:ID_CHARS]!r}, which is not a name")
            return completion_task(
                CompletionRow(STATED, stated.prompt, stated.entry_point, stated.test, stated.canonical_solution)
            )
        found = msgspec.convert({"question": STATED, **row, "task_id": STATED}, ExecutedRow)
    except msgspec.ValidationError as error:
        raise ValueError(f"task: {error}") from None
    check_language("task.language", found.language, offered)
    check_length("task.comparison.checker", found.comparison.checker, PARSED_CHARS)
    check_length("task.prompt", found.prompt, PARSED_CHARS)
    check_length("task.entry_point", found.entry_point, ID_CHARS)
    if found.prompt and found.language != "python":
        check_length("task.tests", found.tests, TESTS_CHARS)
    if len(found.stops or ()) > MOST_STOPS:
        raise ValueError(f"task.stops has {len(found.stops or ())} entries; use at most {MOST_STOPS}")
    for fault in faults(found):
        raise ValueError(f"task.{fault}")
    if found.timeout_s is not None:
        checked_timeout("task.timeout_s", found.timeout_s, maxima)
    if found.memory_mb is not None:
        checked_memory("task.memory_mb", found.memory_mb, maxima)
    made = task(found)
    assert made.executed is not None
    check_cases(made.executed, maxima)
    check_paths([*found.files, languages()[found.language].file])
    return made


def check_length(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise ValueError(f"{name} is longer than {most} characters")


def check_language(name: str, language: str, offered: Collection[str]) -> None:
    if language not in offered:
        raise ValueError(f"{name} is {language[:ID_CHARS]!r}; this server offers {', '.join(offered) or 'none'}")


def check_cases(executed: Executed, maxima: Maxima) -> None:
    """Raise ValueError if the cases could hold a slot for too long, or have arguments that cannot be passed."""
    limit_s = max(executed.timeout_s or maxima.timeout_s, LEAST_CASE_S)
    limit_s += CHECKER_LIMITS.timeout_s if executed.comparison.checker else 0.0
    if len(executed.cases) * limit_s > LONGEST_S:
        checked = " with their checker" if executed.comparison.checker else ""
        raise ValueError(
            f"task.cases: {len(executed.cases)} cases of up to {limit_s:g} s{checked} may take more than "
            f"{LONGEST_S:g} s; state fewer, or a lower task.timeout_s"
        )
    for number, case in enumerate(executed.cases, start=1):
        if sum(len(argument.encode()) + POINTER_BYTES for argument in case.arguments) > ARGUMENT_BYTES:
            raise ValueError(f"task.cases: case {number} has more than {ARGUMENT_BYTES} bytes of arguments")


def check_paths(paths: Sequence[str]) -> None:
    """Raise ValueError unless files with these relative paths can stand in one folder."""
    if len(paths) > MOST_FILES:
        raise ValueError(f"files has {len(paths)} entries; use at most {MOST_FILES}")
    taken: set[PurePosixPath] = set()
    for path in paths:
        if reason := _too_long(path) or unsafe(path):
            raise ValueError(f"files names {path[:ID_CHARS]!r}, which {reason}; use a short relative path")
        if PurePosixPath(path) in taken:
            raise ValueError(f"files names {path!r}, which another file of the program has")
        taken.add(PurePosixPath(path))
    folders = {folder for path in taken for folder in path.parents}
    if clash := next(iter(taken & folders), None):
        raise ValueError(f"files names {str(clash)!r} as a file and as a folder")


def _too_long(path: str) -> str:
    if len(path.encode()) > PATH_BYTES:
        return "is too long"
    parts = PurePosixPath(path).parts
    if len(parts) > MOST_PARTS:
        return f"has more than {MOST_PARTS} parts"
    return "is too long" if any(len(part.encode()) > PART_BYTES for part in parts) else ""


def _answer(item: Item, task: Task) -> tuple[Form, str, Task]:
    """The form and text of an item's answer, and its task with the answer's further files. Raises ValueError."""
    given = [name for name in (*FORMS, "files") if getattr(item, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise ValueError(f"one of reply, completion, solution and files is needed; found {found}")
    if item.files is None:
        (form,) = (name for name in FORMS if name in given)
        return form, getattr(item, form), task
    if task.executed is None:
        raise ValueError("files: the tests of this task call a function; send reply, completion or solution")
    main = languages()[task.language].file
    if main not in item.files:
        raise ValueError(f"files has no {main!r}, the main file of a program in {task.language}")
    more = [(path, text) for path, text in item.files.items() if path != main]
    files = (*task.executed.files, *more)
    check_paths([*(path for path, _ in files), main])
    return "solution", item.files[main], replace(task, executed=replace(task.executed, files=files))
