"""Hostile programs in every language with executed tasks, and the outcomes that show that the sandbox contains them.

They are written in hostile_programs.yaml, which explains each kind.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from yaml import safe_load

from swarmeval.doctor.finding import Finding
from swarmeval.executed import Case, Executed
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.executed.processes import pids
from swarmeval.sandbox.missing_layers import EXECUTED_ACTS, EXECUTED_POWERS, consequences, unblocked_acts
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.toolchains import Toolchain

FILE = Path(__file__).with_name("hostile_programs.yaml")
CONTAINED = "contained"  # printed by programs whose every attempt was refused
TIMEOUT_S, MEMORY_MB = 5.0, 256
ENDED = {Outcome.TIMED_OUT, Outcome.RAISED, Outcome.CRASHED, Outcome.OUT_OF_MEMORY}
# Outcomes that show that a program of this kind was contained.
ALLOWED = {
    "reach": {Outcome.PASSED},
    "processes": {Outcome.PASSED, *ENDED},
    "memory": {Outcome.PASSED, *ENDED},
    "disk": {Outcome.PASSED},
    "flood": {Outcome.WRONG_ANSWER, Outcome.TIMED_OUT},
    "exit": {Outcome.WRONG_ANSWER, *ENDED},
}


@dataclass(frozen=True, slots=True)
class HostileProgram:
    """A hostile program in one language."""

    language: str
    kind: str  # a key of ALLOWED
    program: Program

    def __str__(self) -> str:
        return f"{self.kind} in {self.language}"

    def is_contained(self, execution: Execution) -> bool:
        return execution.outcome in ALLOWED[self.kind]


@cache
def sources() -> dict[str, dict[str, str]]:
    """The texts of each language, by kind."""
    written: dict[str, dict[str, str]] = safe_load(FILE.read_text(encoding="utf-8"))
    return {language: _resolved(entry, written) for language, entry in written.items()}


def hostile_programs(languages: Iterable[str]) -> Iterator[HostileProgram]:
    """All hostile programs in these languages."""
    for language in languages:
        texts = sources()[language]
        for kind in ALLOWED:
            is_tested = kind == "exit"
            cases = () if is_tested else (Case(expected=CONTAINED),)
            executed = Executed(language, cases, memory_mb=MEMORY_MB)
            yield HostileProgram(
                language, kind, Program(texts[kind], texts["tests"] if is_tested else "", executed=executed)
            )


async def uncontained(sandbox: Sandbox, programs: Sequence[HostileProgram]) -> list[str]:
    """Run the programs; return the names of those that the sandbox does not contain."""
    before = processes(sandbox)
    ends = await asyncio.gather(*(sandbox.run(one.program) for one in programs))
    found = [str(one) for one, end in zip(programs, ends, strict=True) if not one.is_contained(end)]
    left = processes(sandbox) - before
    return [*found, *([f"{left} processes that outlive their programs"] if left > 0 else [])]


def not_tried(missing: Collection[str]) -> Finding:
    """Report what executed programs can do without these layers."""
    acts = ", ".join(unblocked_acts(missing, EXECUTED_ACTS)) or "nothing"
    lacks = f"executed programs lack {', '.join(missing)}"
    caveat = f"{lacks}: {consequences(missing, EXECUTED_POWERS)}"
    return Finding("executed", "note", f"not tried: {lacks}; not blocked: {acts}", caveat=caveat)


def processes(sandbox: Sandbox) -> int:
    """The number of processes that the sandbox has started, directly or indirectly."""
    return sum(1 for pid in sandbox.pids() for _ in pids(None, pid))


async def executed_finding(toolchains: Mapping[str, Toolchain], workers: int, mode: str) -> Finding:
    """Try the hostile programs in the languages of these toolchains."""
    if mode == "none":
        return Finding("executed", "note", "not tried: sandbox.mode: none")
    began = time.monotonic()
    async with Sandbox(workers, TIMEOUT_S, MEMORY_MB, mode, toolchains=toolchains) as sandbox:
        if missing := sandbox.missing():
            return not_tried(missing)
        programs = list(hostile_programs(toolchains))
        found = await uncontained(sandbox, programs)
    if found:
        text = f"not contained: {', '.join(found)}"
        return Finding("executed", "UNFIT", text, "report this as a bug in the sandbox")
    seconds = f"{time.monotonic() - began:.0f} s in total"
    text = f"{len(programs)} hostile programs in {', '.join(toolchains)}: all contained ({seconds})"
    return Finding("executed", "ok", text)


def _resolved(entry: dict[str, str], written: dict[str, dict[str, str]]) -> dict[str, str]:
    if "like" not in entry:
        return entry
    others = written[entry["like"]].items()
    return {kind: text if kind == "tests" else entry["before"] + text for kind, text in others}
