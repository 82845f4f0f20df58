"""Classifies statements: definitions of the entry point, stubs, tests, and truncated copies. Uses syntax trees only."""

import ast
from collections.abc import Iterator, Sequence

from swarmeval.extraction.names import names

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
BLOCKS = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.Match, ast.match_case, ast.ExceptHandler)


def defines(node: ast.stmt, entry_point: str) -> bool:
    """Whether a statement defines the entry point, as a function with a body or by assignment."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return node.name == entry_point and not is_stub(node)
        case ast.Assign(value=ast.Constant()) | ast.AnnAssign(value=ast.Constant()):
            return False
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return not calls(value, entry_point) and entry_point in names(node).bound
        case ast.If() | ast.Try() | ast.TryStar() | ast.With() | ast.Match():
            if entry_point not in names(node).bound or "__name__" in names(node).read:
                return False
            return any(defines(inner, entry_point) for inner in statements_within(node))
        case _:
            return False


def calls(value: ast.expr, entry_point: str) -> bool:
    """Whether a value is a call of the entry point, as in usage that stores the result under the same name."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == entry_point


def statements_within(node: ast.stmt) -> Iterator[ast.stmt]:
    """Functions and assignments inside compound statements at any depth, but not inside functions."""
    waiting: list[ast.AST] = [node]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, (*FUNCTIONS, ast.Assign, ast.AnnAssign)):
            yield inner
        elif isinstance(inner, BLOCKS):
            waiting.extend(ast.iter_child_nodes(inner))


def method_alias(nodes: Sequence[ast.stmt], entry_point: str) -> tuple[int, str]:
    """Index of the last class with a method named like the entry point, and the alias line; (-1, "") if none."""
    for place in reversed(range(len(nodes))):
        node = nodes[place]
        if isinstance(node, ast.ClassDef) and any(
            isinstance(inner, ast.FunctionDef) and defines(inner, entry_point) for inner in node.body
        ):
            return place, f"{entry_point} = {node.name}().{entry_point}"
    return -1, ""


def is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a body consists only of a docstring, imports, `...`, `pass` or NotImplementedError."""
    for statement in node.body:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
                continue
            case ast.Raise(exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError"))):
                continue
            case _:
                return False
    return True


def is_bare(node: ast.stmt) -> bool:
    """Whether a statement is a function with only a signature and a docstring."""
    return isinstance(node, FUNCTIONS) and all(
        isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant) and isinstance(inner.value.value, str)
        for inner in node.body
    )


def is_test(node: ast.stmt, entry_point: str) -> bool:
    """Whether a definition is named like a test. The caller decides whether the entry point uses it."""
    return isinstance(node, DEFINITIONS) and node.name.lower().startswith("test") and node.name != entry_point


def shortens(later: ast.stmt, later_text: str, earlier: ast.stmt, earlier_text: str) -> bool:
    """Whether the last statement of a text looks like a truncated copy of an earlier one.

    Its last line may be incomplete, unless `later_text` ends with a newline.
    """
    if isinstance(earlier, FUNCTIONS) and is_stub(earlier):
        return False
    if later_text != earlier_text and is_beginning(later_text, earlier_text):
        return True
    if not isinstance(later, FUNCTIONS) or not isinstance(earlier, FUNCTIONS):
        return False
    return runs_off(later.body) and not runs_off(earlier.body)


def is_beginning(text: str, whole: str) -> bool:
    """Whether a text is the beginning of a longer one, ignoring whitespace."""
    lines, others = ([line for part in held.split("\n") if (line := "".join(part.split()))] for held in (text, whole))
    if len(lines) > len(others) or lines == others or lines[:-1] != others[: len(lines) - 1]:
        return False
    last, other = lines[-1], others[len(lines) - 1]
    return last == other or (other.startswith(last) and not text.endswith("\n"))


def runs_off(body: Sequence[ast.stmt]) -> bool:
    """Whether a function can reach its end without return or raise, as most truncated functions can."""
    match body[-1] if body else None:
        case ast.Return() | ast.Raise():
            return False
        case ast.If(body=one, orelse=other):
            return runs_off(one) or runs_off(other)
        case ast.With(body=one) | ast.AsyncWith(body=one):
            return runs_off(one)
        case ast.While(test=ast.Constant(value=value)) if value:
            return False
        case ast.Try(body=one, orelse=other, handlers=handlers, finalbody=final):
            ends = (runs_off(handler.body) for handler in handlers)
            return (runs_off(other or one) or any(ends)) and runs_off(final)
        case ast.Match(cases=cases):
            return any(runs_off(case.body) for case in cases)
        case _:
            return True
