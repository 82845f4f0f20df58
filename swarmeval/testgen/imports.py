"""Splits import statements into single bindings, compares their meaning, and writes them back as statements."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One name that an import binds."""

    module: str
    name: str | None  # name imported from the module; None for the module itself
    bound: str

    @property
    def is_dotted(self) -> bool:
        """Whether this is `import a.b`, which binds "a"."""
        return self.name is None and "." in self.module and self.bound == self.module.partition(".")[0]

    @property
    def meaning(self) -> str:
        """Equal for imports of the same object, under any name. `import a.b` binds the same as `import a`."""
        module = self.module.partition(".")[0] if self.is_dotted else self.module
        return f"import {module}" if self.name is None else f"from {module} import {self.name}"


def bindings(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    """Yield the bindings of a statement. `from x import *` gives one binding with the name "*"."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield Import(alias.name, None, alias.asname or alias.name.partition(".")[0])
        else:
            yield Import(node.module or "", alias.name, alias.asname or alias.name)


def bound_as(one: Import, name: str) -> list[Import]:
    """The imports needed to make `name` refer to the same object as `one`."""
    if one.is_dotted and name != one.bound:
        return [Import(one.bound, None, name), Import(one.module, None, f"{name}_{one.module.rpartition('.')[2]}")]
    return [Import(one.module, one.name, name)]


def import_statements(imports: Iterable[Import]) -> list[str]:
    """Import statements in a deterministic order: __future__ first, names of one module together."""
    whole: list[str] = []
    parts: dict[str, list[str]] = {}
    for one in sorted(set(imports), key=lambda one: (one.module, one.name or "", one.bound)):
        if one.name is None:
            renames = not one.is_dotted and one.bound != one.module
            whole.append(f"import {one.module} as {one.bound}" if renames else f"import {one.module}")
        else:
            again = f" as {one.bound}" if one.bound != one.name else ""
            parts.setdefault(one.module, []).append(one.name + again)
    future = parts.pop("__future__", None)
    first = [f"from __future__ import {', '.join(future)}"] if future else []
    return [*first, *whole, *(f"from {module} import {', '.join(names)}" for module, names in parts.items())]
