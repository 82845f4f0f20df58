"""The test files of a run: one for each module, written when the last of its functions is answered, then forgotten.

What is held are the replies of modules that are not yet answered whole, and the names of files.
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
    """A module whose functions are all answered."""

    module: Module
    combined: Combined
    path: Path | None  # of its file; None where no test was kept
    failed: dict[str, str]  # function id -> why it got no reply


def file_names(modules: Iterable[str]) -> dict[str, str]:
    """Module -> the name of its test file in the folder of its package, no two alike, on no file system.

    "a.b.c" is test_b_c.py, the package "a" itself test___init__.py. Where two would be alike, as those of "a.b_c" and
    "a.b.c", the later in the alphabet gets a number. The same modules get the same names.
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
    """A module of which some functions are not answered."""

    module: Module
    left: set[str]  # function ids
    parts: dict[str, Part] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class TestFiles:
    """Gathers replies, in whatever order they come."""

    __test__ = False  # pytest takes what begins with Test for one

    def __init__(self, folder: Path, names: dict[str, str]) -> None:
        """`names`: of the files, as file_names gives them for every module that may come."""
        self._folder = folder
        self._names = names
        self._pending: dict[str, PendingModule] = {}

    def begin(self, module: Module) -> None:
        """Say which functions of a module will be answered, before any of them is."""
        self._pending[module.name] = PendingModule(module, {one.function_id for one in module.functions})

    def answer(self, context: Context, reply: str) -> WrittenModule | None:
        """Take what a model answered for one function, a base model's LEAD included; the file, if it was the last.

        Raises OutputError when that cannot be written.
        """
        part = Part(context.function_id, reply, prompt_imports(context), context.subject)
        self._pending[context.module].parts[context.function_id] = part
        return self._done(context)

    def fail(self, context: Context, reason: str) -> WrittenModule | None:
        """Take note that there will be no reply."""
        self._pending[context.module].failed[context.function_id] = reason
        return self._done(context)

    def is_last(self, context: Context) -> bool:
        """Whether its module is written when it is answered, which takes time."""
        return self._pending[context.module].left == {context.function_id}

    def unanswered(self) -> int:
        """Modules that wait for replies: what is held."""
        return len(self._pending)

    def finish(self, reason: str) -> Iterator[WrittenModule]:
        """Write what there is of the modules that still wait; what they lack failed for this reason."""
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
        """Put a module's test file into its place, whole, or raise OutputError."""
        path = self._folder / module.file.package / self._names[module.name]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from None
        with replaced(path) as file:
            file.write(f"# Tests of {module.name}, written by a language model.\n{combined.source}")
        return path
