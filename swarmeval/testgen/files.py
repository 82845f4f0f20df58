"""Writes the test files of a run: one per module, as soon as the last of its functions is answered.

Holds in memory only the replies of unfinished modules, and the names of files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from swarmeval.files import cannot_write, replaced
from swarmeval.testgen.combine import Combined, combine
from swarmeval.testgen.pieces import Part
from swarmeval.testgen.prompts import prompt_imports
from swarmeval.testgen.sources import Context, Module


@dataclass(frozen=True, slots=True)
class WrittenModule:
    """A module with replies, or failures, for all its functions."""

    module: Module
    combined: Combined
    path: Path | None  # of its test file; None if no test was kept
    failed: dict[str, str]  # function id -> reason why it got no reply


def file_names(modules: Iterable[str]) -> dict[str, str]:
    """Map modules to unique names of test files, also on case-insensitive file systems.

    "a.b.c" becomes test_b_c.py, the package "a" itself test___init__.py. If two names collide, as for "a.b_c" and
    "a.b.c", the alphabetically later module gets a number. The same modules always get the same names.
    """
    grouped: dict[tuple[str, str], list[str]] = {}
    for module in sorted(set(modules)):
        package, _, rest = module.partition(".")
        grouped.setdefault((package, rest.replace(".", "_").casefold()), []).append(module)
    names: dict[str, str] = {}
    taken = set(grouped)
    for (package, _), group in grouped.items():
        for number, module in enumerate(group, 1):
            plain = module.partition(".")[2].replace(".", "_") or "__init__"
            chosen = plain
            while number > 1 and (package, chosen.casefold()) in taken:
                chosen = f"{plain}__{number}"
                number += 1
            taken.add((package, chosen.casefold()))
            names[module] = f"test_{chosen}.py"
    return names


@dataclass(slots=True)
class PendingModule:
    """A module with unanswered functions."""

    module: Module
    left: set[str]  # function ids
    parts: dict[str, Part] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class TestFiles:
    """Collects replies in any order, and writes a module's test file when it is complete."""

    __test__ = False  # prevents pytest from collecting this class

    def __init__(self, folder: Path, names: dict[str, str]) -> None:
        """`names` maps every module that may occur to its file name, see file_names()."""
        self._folder = folder
        self._names = names
        self._pending: dict[str, PendingModule] = {}

    def begin(self, module: Module) -> None:
        """Register the functions of a module before any of them is answered."""
        self._pending[module.name] = PendingModule(module, {one.function_id for one in module.functions})

    def answer(self, context: Context, reply: str) -> WrittenModule | None:
        """Add the reply for one function, including a base model's LEAD. Returns the module if it is now complete.

        Raises OutputError if its file cannot be written.
        """
        part = Part(context.function_id, reply, prompt_imports(context), context.subject)
        self._pending[context.module].parts[context.function_id] = part
        return self._done(context)

    def fail(self, context: Context, reason: str) -> WrittenModule | None:
        """Record that a function gets no reply. Returns the module if it is now complete."""
        self._pending[context.module].failed[context.function_id] = reason
        return self._done(context)

    def is_last(self, context: Context) -> bool:
        """Whether this function completes its module, so that answering it writes a file."""
        return self._pending[context.module].left == {context.function_id}

    def unanswered(self) -> int:
        """Number of modules that wait for replies."""
        return len(self._pending)

    def finish(self, reason: str) -> Iterator[WrittenModule]:
        """Write the incomplete modules. Their unanswered functions fail with this reason."""
        for pending in list(self._pending.values()):
            pending.failed |= dict.fromkeys(sorted(pending.left), reason)
            yield self._close(pending)

    def _done(self, context: Context) -> WrittenModule | None:
        pending = self._pending[context.module]
        pending.left.discard(context.function_id)
        return None if pending.left else self._close(pending)

    def _close(self, pending: PendingModule) -> WrittenModule:
        del self._pending[pending.module.name]
        parts = [one for each in pending.module.functions if (one := pending.parts.get(each.function_id))]
        combined = combine(parts)
        path = self.write(pending.module, combined) if combined.source else None
        return WrittenModule(pending.module, combined, path, pending.failed)

    def write(self, module: Module, combined: Combined) -> Path:
        """Write a module's test file atomically. Raises OutputError."""
        path = self._folder / module.file.package / self._names[module.name]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from None
        with replaced(path) as file:
            file.write(f"# Tests of {module.name}, written by a language model.\n{combined.source}")
        return path
