"""Imports as what they bind: one name each, distinguished by what it means, and written together again."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One name that an import binds."""

    module: str
    name: str | None  # of what is imported from the module; None: the module itself
    bound: str

    @property
    def is_dotted(self) -> bool:
        """Of `import a.b`, which binds "a"."""
        return self.name is None and "." in self.module and self.bound == self.module.partition(".")[0]

    @property
    def meaning(self) -> str:
        """Equal where the same thing is bound, under whatever name. `import a.b` binds what `import a` does."""
        module = self.module.partition(".")[0] if self.is_dotted else self.module
        return f"import {module}" if self.name is None else f"from {module} import {self.name}"


def bindings(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    """Of `from x import *` one whose name is "*"."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield Import(alias.name, None, alias.asname or alias.name.partition(".")[0])
        else:
            yield Import(node.module or "", alias.name, alias.asname or alias.name)


def bound_as(one: Import, name: str) -> list[Import]:
    """What has to be imported so that `name` means what `one` does."""
    if one.is_dotted and name != one.bound:
        return [Import(one.bound, None, name), Import(one.module, None, f"{name}_{one.module.rpartition('.')[2]}")]
    return [Import(one.module, one.name, name)]


def import_statements(imports: Iterable[Import]) -> list[str]:
    """As statements, in an order that is always the same; the future first, names of one module together."""
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
