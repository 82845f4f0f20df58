"""The tables of the sandbox audit for the manual: system calls, limits and places, from the code of the layers."""

import errno
from collections.abc import Iterator, Sequence

from swarmeval.sandbox.layers import allowed_calls, guard, namespaces
from swarmeval.sandbox.layers import places as place_rules
from swarmeval.sandbox.layers.allowed_calls import Calls, Check

HEAD = "| system calls | only if | answer | reason |\n|---|---|---|---|"


def calls_of_all() -> str:
    return _table(allowed_calls.ALL)


def calls_in_one_process() -> str:
    return _table(allowed_calls.IN_ONE_PROCESS)


def calls_of_executed() -> str:
    return _table(allowed_calls.EXECUTED)


def limits() -> str:
    """The fixed limits; those of time and memory are settings."""
    rows = [
        ("own folder, MB", namespaces.DISK_MB, namespaces.EXECUTED_DISK_MB),
        ("files and folders in it", namespaces.FILES, namespaces.FILES),
        ("size of one file, MB", namespaces.DISK_MB, namespaces.EXECUTED_DISK_MB),
        ("open files per process", guard.OPEN_FILES, guard.OPEN_FILES),
        ("processes and threads", guard.OWN_PROCESSES, guard.EXECUTED_PROCESSES),
        ("pending signals and timers", guard.OWN_SIGNALS, guard.OWN_SIGNALS),
        ("size of core files", 0, 0),
    ]
    lines = [f"| {name} | {one:,} | {executed:,} |" for name, one, executed in rows]
    return "\n".join(["| limit | programs in one process | executed programs |", "|---|---|---|", *lines])


def places() -> str:
    """The machine's files that programs can read, and the devices."""
    shown = {
        "programs in one process": (*place_rules.SYSTEM, "the interpreter and its packages"),
        "executed programs": (*place_rules.EXECUTABLE, "the toolchain and its warm folder"),
        "both": namespaces.DEVICES,
        "never": tuple(f"the package {name}" for name in place_rules.ANSWERS),
    }
    lines = [f"| {who} | {', '.join(_place(name) for name in names)} |" for who, names in shown.items()]
    return "\n".join(["| readable for | files |", "|---|---|", *lines])


def _place(name: str) -> str:
    return f"`{name}`" if name.startswith("/") else name


def _table(rows: Sequence[Calls]) -> str:
    lines = []
    for calls in rows:
        names = ", ".join(f"`{name}`" for name in calls.names.split())
        lines.append(f"| {names} | {'; '.join(_conditions(calls))} | {_answer(calls.answer)} | {calls.reason} |")
    return "\n".join([HEAD, *lines])


def _conditions(calls: Calls) -> Iterator[str]:
    """The conditions on arguments, which are counted from 1."""
    for check in calls.only:
        yield f"argument {check.position + 1} {_relation(check)} {check.name}"
    if calls.values:
        yield f"argument {calls.position + 1} is {', '.join(calls.values.values())}"


def _relation(check: Check) -> str:
    if check.compare == "<=":
        return "is at most"
    return "has" if check.compare == "&" else "is"


def _answer(answer: int | None) -> str:
    if answer is None:
        return "allowed"
    return "success, nothing is done" if answer == allowed_calls.SUCCESS else f"`{errno.errorcode[answer]}`"
