"""Finds the program in a text: the definitions and the statements they need. Runs nothing and adds nothing."""

import ast
import builtins
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from swarmeval.extraction.belonging import all_definitions, belonging, needed_by
from swarmeval.extraction.definitions import defines, method_alias, shortens
from swarmeval.extraction.names import bound_by
from swarmeval.extraction.syntax import BudgetedParser, BudgetSpent, chunks

DEFINITION = re.compile(r"(?:async\s+def|def)\s+\w+\s*\(|class\s+\w+\s*[:(]|@\w")


@dataclass(frozen=True, slots=True)
class TopLevelStatement:
    """One module-level statement and its lines, [start, end)."""

    node: ast.stmt
    start: int
    end: int
    lines: list[str] = field(repr=False, compare=False)  # of the whole text
    last: bool = False  # last statement of a text that may have been truncated here
    cut: bool = False  # text that does not parse follows

    def name(self) -> str:
        """The name that a definition or simple assignment binds; "" for other statements."""
        match self.node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                return name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                return name
        return ""

    def shortens(self, earlier: "TopLevelStatement") -> bool:
        """Whether this is a truncated copy of an earlier statement."""
        if not (self.last or self.cut) or earlier.last or earlier.cut or not self.name() == earlier.name() != "":
            return False
        return self.cut or shortens(self.node, self.text(), earlier.node, earlier.text())

    def text(self) -> str:
        return "\n".join(self.lines[self.start : self.end]) + "\n" * (self.end < len(self.lines))


@dataclass(frozen=True, slots=True)
class ExtractedProgram:
    """Module-level code extracted from a text, without usage and prose."""

    text: str
    statements: tuple[TopLevelStatement, ...]
    complete: bool  # whether it fully defines the entry point, and nothing that it needs was truncated
    defines: bool  # whether it defines the entry point with more than a stub, even if broken
    broken: bool = False  # whether a definition does not parse for a reason other than truncation
    alias: str = ""  # line that binds the entry point to a method, if only a class defines it
    needed: frozenset[int] = frozenset()  # indices of the statements that the entry point needs

    @property
    def nodes(self) -> tuple[ast.stmt, ...]:
        return tuple(statement.node for statement in self.statements)

    def shortens(self, other: "ExtractedProgram") -> bool:
        """Whether its entry point needs a statement that is a truncated copy of one in the other program."""
        needed = [statement for place, statement in enumerate(self.statements) if place in self.needed]
        return any(later.shortens(earlier) for later in needed for earlier in other.statements if later.last)


def read_program(
    text: str, entry_point: str, parser: BudgetedParser, open_end: bool, wanted: Collection[str] = ()
) -> ExtractedProgram | None:
    """Extract the definitions in a text and the statements they need; None if there are none.

    With `open_end` the last definition may be truncated. With `wanted` names, only the statements that these need.
    Other broken definitions are kept unchanged, because removing a part would give a different program.
    """
    lines = text.split("\n")
    parsed, whole, broken = statements(lines, parser, open_end)
    kept = [s for place, s in enumerate(parsed) if not ((s.last or s.cut) and any(map(s.shortens, parsed[:place])))]
    nodes = [s.node for s in kept]
    last = max((i for i, node in enumerate(nodes) if defines(node, entry_point)), default=-1)
    alias = ""
    if last < 0:
        last, alias = method_alias(nodes, entry_point)
    chosen, needed = chosen_places(kept, last, entry_point, wanted)
    if not broken and not chosen:
        return None
    complete = last >= 0 and not broken and not any(kept[i].cut for i in needed)
    meant = last >= 0 or any(f"def {entry_point}" in lines[number] for number in broken)
    if not whole or len(chosen) < len(parsed):
        numbers = {number for i in chosen for number in range(kept[i].start, kept[i].end)} | broken
        text = "\n".join(line for number, line in enumerate(lines) if number in numbers)
    places = frozenset(place for place, i in enumerate(chosen) if i in needed)
    return ExtractedProgram(text, tuple(kept[i] for i in chosen), complete, meant, bool(broken), alias, places)


def chosen_places(
    kept: list[TopLevelStatement], last: int, entry_point: str, wanted: Collection[str]
) -> tuple[list[int], set[int]]:
    """(indices of the statements of the answer, those that the entry point needs, computed only if text was cut)."""
    nodes = [s.node for s in kept]
    if wanted:
        return needed_by(nodes, wanted, entry_point)
    if not any(s.cut or s.last for s in kept) and (places := all_definitions(nodes, last, entry_point)) is not None:
        return places, set()
    return belonging(nodes, last, entry_point)


def statements(
    lines: list[str], parser: BudgetedParser, open_end: bool
) -> tuple[list[TopLevelStatement], bool, set[int]]:
    """(module-level statements that parse, whether they are the whole text, line numbers of broken definitions).

    With `open_end`, a last definition that does not parse is reduced to a prefix that does.
    """
    try:
        parsed = [placed(node, 0, lines) for node in parser.parse("\n".join(lines)).body]
    except SyntaxError:
        parsed, broken = parts(lines, parser, open_end)
        whole = False
    else:
        broken, whole = set(), True
    if open_end and parsed and not any(line.strip() for line in lines[parsed[-1].end :]):
        parsed[-1] = replace(parsed[-1], last=True)
    return parsed, whole, broken


def parts(lines: list[str], parser: BudgetedParser, open_end: bool) -> tuple[list[TopLevelStatement], set[int]]:
    """(statements, line numbers of broken definitions) of a text that does not parse as a whole."""
    parsed: list[list[TopLevelStatement]] = []
    broken: set[int] = set()
    for start, end in reversed(chunks(lines)):  # last part first, in case the budget runs out
        part = lines[start:end]
        try:
            parsed.append([placed(node, start, lines) for node in parser.parse("\n".join(part)).body])
        except BudgetSpent:
            break
        except SyntaxError:
            if not DEFINITION.match(part[0]):
                continue  # prose
            if not open_end or end < len(lines):
                broken |= set(range(start, end))
                continue
            length, tree = parser.prefix(part)  # 0 if no prefix parses
            parsed.append([replace(placed(node, start, lines), end=start + length, cut=True) for node in tree.body])
    return [statement for part in reversed(parsed) for statement in part], broken


def placed(node: ast.stmt, offset: int, lines: list[str]) -> TopLevelStatement:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    start = offset + min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    end = offset + (node.end_lineno or node.lineno)
    return TopLevelStatement(node, start, end, lines)


def missing_names(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names that the code reads but does not bind, and that are not builtins."""
    read: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                read.add(inner.id)
            bound.update(bound_by(inner))
    return read - bound
