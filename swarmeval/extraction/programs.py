"""Finds the program in one stretch of text: definitions and what they need. Runs nothing and adds nothing."""

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from swarmeval.extraction.syntax import BudgetedParser, chunks

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
DEFINITION = re.compile(r"(?:async\s+def|def)\s+\w+\s*\(|class\s+\w+\s*[:(]|@\w")
TALKS = frozenset({"print", "input", "stdin"})


@dataclass(frozen=True, slots=True)
class TopLevelStatement:
    """One statement at the left margin, with the lines it stands on: [start, end)."""

    node: ast.stmt
    start: int
    end: int
    cut: bool = False  # the text went on, but not as Python


@dataclass(frozen=True, slots=True)
class ExtractedProgram:
    """Module-level code taken from a text, usage and prose removed."""

    text: str
    nodes: tuple[ast.stmt, ...]
    complete: bool  # it holds a definition of the entry point that is no stub, and none of it was cut
    defines: bool  # it holds a definition of the entry point that is no stub, be it broken
    broken: bool = False  # a definition in it does not parse, and not because the text ended
    alias: str = ""  # the line that makes the entry point of the method of its name, where only a class has one


def read_program(text: str, entry_point: str, parser: BudgetedParser, open_end: bool) -> ExtractedProgram | None:
    """The definitions in a text; None where there are none. With `open_end` its last one may have been cut short.

    A definition that is broken otherwise stays as it is: what was left of it would be another program.
    """
    lines = text.split("\n")
    parsed, whole, broken = statements(lines, parser, open_end)
    last = max((i for i, s in enumerate(parsed) if defines(s.node, entry_point)), default=-1)
    alias = ""
    if last < 0:
        last, alias = method_alias([s.node for s in parsed], entry_point)
    retained = [s for i, s in enumerate(parsed) if belongs(s.node, i <= last, entry_point)]
    if last >= 0:  # a stub that follows the real definition would replace it
        retained = [s for s in retained if s.start <= parsed[last].start or bound_names(s.node) != {entry_point}]
    retained = drop_unneeded(retained, entry_point)
    if not broken and not any(isinstance(s.node, DEFINITIONS) or defines(s.node, entry_point) for s in retained):
        return None
    chosen = lines
    if not whole or len(retained) < len(parsed):
        retained_lines = {number for s in retained for number in range(s.start, s.end)} | broken
        chosen = [line for number, line in enumerate(lines) if number in retained_lines]
    complete = last >= 0 and not parsed[last].cut and not broken
    defined = last >= 0 or any(f"def {entry_point}" in lines[number] for number in broken)
    return ExtractedProgram("\n".join(chosen), tuple(s.node for s in retained), complete, defined, bool(broken), alias)


def statements(
    lines: list[str], parser: BudgetedParser, open_end: bool
) -> tuple[list[TopLevelStatement], bool, set[int]]:
    """What parses at the left margin, in order; whether that is the whole text; the lines of broken definitions.

    With `open_end` a last definition that does not parse is cut to what parses of it.
    """
    try:
        return [placed(node, 0) for node in parser.parse("\n".join(lines)).body], True, set()
    except SyntaxError:
        pass  # part of it then
    parsed: list[TopLevelStatement] = []
    broken: set[int] = set()
    for start, end in chunks(lines):
        part = lines[start:end]
        try:
            parsed += [placed(node, start) for node in parser.parse("\n".join(part)).body]
        except SyntaxError:
            if not DEFINITION.match(part[0]):
                continue  # prose
            if not open_end or end < len(lines):
                broken |= set(range(start, end))
                continue
            length, tree = parser.prefix(part)  # 0 where the reply was cut before anything of it parses
            parsed += [replace(placed(node, start), end=start + length, cut=True) for node in tree.body]
    return parsed, False, broken


def placed(node: ast.stmt, offset: int) -> TopLevelStatement:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return TopLevelStatement(node, offset + first - 1, offset + (node.end_lineno or node.lineno))


def defines(node: ast.stmt, entry_point: str) -> bool:
    """Whether the statement gives the entry point a meaning: a function with a body, or an assignment."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return node.name == entry_point and not is_stub(node)
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            result = isinstance(value, ast.Constant) or calls(value, entry_point)
            return entry_point in bound_names(node) and not result
        case ast.If() | ast.Try() | ast.With():
            inner = functions_within(node)
            return any(defines(function, entry_point) for function in inner) and "__name__" not in used_names(node)
        case _:
            return False


def calls(value: ast.expr, entry_point: str) -> bool:
    """Whether the value is what the entry point returns, as in usage that keeps it under the same name."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == entry_point


def functions_within(node: ast.stmt) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions defined under a condition, at any depth, but not inside others."""
    waiting: list[ast.AST] = [node]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, FUNCTIONS):
            yield inner
        elif isinstance(inner, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            waiting.extend(ast.iter_child_nodes(inner))


def method_alias(nodes: Sequence[ast.stmt], entry_point: str) -> tuple[int, str]:
    """The place of the last class with a method of the entry point's name, no stub, and the line that takes it."""
    for place in reversed(range(len(nodes))):
        node = nodes[place]
        if isinstance(node, ast.ClassDef) and any(
            isinstance(inner, ast.FunctionDef) and defines(inner, entry_point) for inner in node.body
        ):
            return place, f"{entry_point} = {node.name}().{entry_point}"
    return -1, ""


def is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the body holds nothing but a docstring, imports, `...`, `pass` or NotImplementedError."""
    for statement in node.body:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
                continue
            case ast.Raise(exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError"))):
                continue
            case _:
                return False
    return True


def belongs(node: ast.stmt, before: bool, entry_point: str) -> bool:
    """Whether a module-level statement is part of the answer rather than its usage, its tests or prose.

    `before`: it stands above the entry point's last definition, or is it.
    """
    if isinstance(node, ast.ImportFrom):
        return node.module != "__future__"
    if isinstance(node, (ast.Import, *DEFINITIONS)) or defines(node, entry_point):
        return True
    used = used_names(node)
    if used & TALKS or "__name__" in used:
        return False
    if isinstance(node, ast.Assign | ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
        return True  # drop_unneeded looks at what they bind
    if isinstance(node, ast.Expr):
        return "setrecursionlimit" in used or (before and isinstance(node.value, ast.Call) and entry_point not in used)
    return before and isinstance(node, ast.Try | ast.If | ast.For | ast.While | ast.With) and entry_point not in used


def drop_unneeded(retained: list[TopLevelStatement], entry_point: str) -> list[TopLevelStatement]:
    """Drop results of usage, imports nothing uses of what may not be installed, and tests beside what they test."""
    last = max((i for i, s in enumerate(retained) if defines(s.node, entry_point)), default=-1)
    needed: set[str] = {entry_point}
    for s in retained:
        if not isinstance(s.node, ast.Import | ast.ImportFrom) and not is_test(s.node):
            needed |= used_names(s.node, values_of=isinstance(s.node, ast.Assign))
    result = []
    for i, s in enumerate(retained):
        bound = bound_names(s.node)
        if isinstance(s.node, ast.Import | ast.ImportFrom):
            if not bound & needed and "*" not in bound and not is_standard(s.node):
                continue
        elif isinstance(s.node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            uses_entry_point = entry_point in used_names(s.node) and entry_point not in bound
            binds_result = entry_point in bound and not defines(s.node, entry_point)
            if uses_entry_point or binds_result or (i > last and bound and not bound & needed):
                continue
        elif last >= 0 and is_test(s.node) and not bound & needed:
            continue
        result.append(s)
    return result


def is_test(node: ast.stmt) -> bool:
    return isinstance(node, DEFINITIONS) and node.name.lower().startswith("test")


def is_standard(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether only the standard library is imported: that is always there."""
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(module.partition(".")[0] in sys.stdlib_module_names for module in modules)


def used_names(node: ast.AST, values_of: bool = False) -> set[str]:
    """Names and attributes the code reads."""
    used = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and (isinstance(inner.ctx, ast.Load) or not values_of):
            used.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            used.add(inner.attr)
    return used


def bound_names(node: ast.stmt) -> set[str]:
    """Module-level names the statement binds."""
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    inner = ast.walk(node)
    return {name.id for name in inner if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


def missing_names(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names the code reads and neither binds anywhere nor finds among the builtins."""
    read: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in nodes:
        for inner in ast.walk(node):
            match inner:
                case ast.Name(id=name, ctx=ast.Load()):
                    read.add(name)
                case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                    bound.add(name)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
                    bound |= bound_names(inner)
    return read - bound
