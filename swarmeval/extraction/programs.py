"""Finds the program in one stretch of text: definitions and what they need. Runs nothing and adds nothing."""

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
    """One statement at the left margin, with the lines it stands on: [start, end)."""

    node: ast.stmt
    start: int
    end: int
    lines: list[str] = field(repr=False, compare=False)  # of the whole text
    last: bool = False  # nothing but blank lines follows in an open text, which may have been cut off here
    cut: bool = False  # the text went on, but not as Python

    def name(self) -> str:
        """The name that a definition or a plain assignment gives; "" for anything else."""
        match self.node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                return name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                return name
        return ""

    def shortens(self, earlier: "TopLevelStatement") -> bool:
        """Whether this is what truncation left of a copy of an earlier statement."""
        if not (self.last or self.cut) or earlier.last or earlier.cut or not self.name() == earlier.name() != "":
            return False
        return self.cut or shortens(self.node, self.text(), earlier.node, earlier.text())

    def text(self) -> str:
        return "\n".join(self.lines[self.start : self.end]) + "\n" * (self.end < len(self.lines))


@dataclass(frozen=True, slots=True)
class ExtractedProgram:
    """Module-level code taken from a text, usage and prose removed."""

    text: str
    statements: tuple[TopLevelStatement, ...]
    complete: bool  # it holds a definition of the entry point that is no stub, and nothing that this needs was cut
    defines: bool  # it holds a definition of the entry point that is no stub, be it broken
    broken: bool = False  # a definition in it does not parse, and not because the text ended
    alias: str = ""  # the line that makes the entry point of the method of its name, where only a class has one
    needed: frozenset[int] = frozenset()  # places of the statements that the entry point needs

    @property
    def nodes(self) -> tuple[ast.stmt, ...]:
        return tuple(statement.node for statement in self.statements)

    def shortens(self, other: "ExtractedProgram") -> bool:
        """Whether something that its entry point needs is what truncation left of a statement in the other program."""
        needed = [statement for place, statement in enumerate(self.statements) if place in self.needed]
        return any(later.shortens(earlier) for later in needed for earlier in other.statements if later.last)


def read_program(
    text: str, entry_point: str, parser: BudgetedParser, open_end: bool, wanted: Collection[str] = ()
) -> ExtractedProgram | None:
    """The definitions in a text and what they need; None where there is nothing of that kind.

    With `open_end` its last one may have been cut short. With names `wanted`, only what these need. A definition that
    is broken otherwise stays as it is: what was left of it would be another program.
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
    """The places of the statements that belong to the answer; which of them it needs, where something was cut."""
    nodes = [s.node for s in kept]
    if wanted:
        return needed_by(nodes, wanted, entry_point)
    if not any(s.cut or s.last for s in kept) and (places := all_definitions(nodes, last, entry_point)) is not None:
        return places, set()
    return belonging(nodes, last, entry_point)


def statements(
    lines: list[str], parser: BudgetedParser, open_end: bool
) -> tuple[list[TopLevelStatement], bool, set[int]]:
    """What parses at the left margin, in order; whether that is the whole text; the lines of broken definitions.

    With `open_end` a last definition that does not parse is cut to what parses of it.
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
    """The same of a text that does not parse as a whole."""
    parsed: list[list[TopLevelStatement]] = []
    broken: set[int] = set()
    for start, end in reversed(chunks(lines)):  # the last word first, should the budget not reach for all
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
            length, tree = parser.prefix(part)  # 0 where the reply was cut before anything of it parses
            parsed.append([replace(placed(node, start, lines), end=start + length, cut=True) for node in tree.body])
    return [statement for part in reversed(parsed) for statement in part], broken


def placed(node: ast.stmt, offset: int, lines: list[str]) -> TopLevelStatement:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    start = offset + min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    end = offset + (node.end_lineno or node.lineno)
    return TopLevelStatement(node, start, end, lines)


def missing_names(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names the code reads and neither binds anywhere nor finds among the builtins."""
    read: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                read.add(inner.id)
            bound.update(bound_by(inner))
    return read - bound
