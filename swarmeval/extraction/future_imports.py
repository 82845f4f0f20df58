"""Removes `from __future__` imports from a program that follows a prompt, where Python does not allow them.

The only one that still has an effect is `annotations`, which turns annotations into strings. This module therefore
quotes the annotations whose evaluation could fail, and leaves the others unchanged.
"""

import ast
import builtins
import re
from collections.abc import Iterator

from swarmeval.extraction.definitions import FUNCTIONS
from swarmeval.extraction.names import names
from swarmeval.extraction.syntax import parse

PARSED_CHARS = 120_000
FUTURE = "__future__"
IMPORT_LINE = re.compile(r"^from[ \t]+__future__[ \t]+import\b[^\n(]*(?:\([^)]{0,500}\))?[^\n]*$", re.MULTILINE)
GENERIC = frozenset({"list", "dict", "set", "tuple", "frozenset", "type"})  # builtins that take subscripts

Edit = tuple[int, int, str]  # start and end in the encoded program, replacement


def without_future_imports(program: str, prompt: str) -> str:
    """Remove the imports from a program, and quote annotations if needed."""
    if FUTURE not in program:
        return program
    try:
        tree = parse(program) if len(program) <= PARSED_CHARS else None
    except SyntaxError:
        tree = None
    if tree is None:
        return IMPORT_LINE.sub("", program)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == FUTURE]
    text = program.encode()
    starts = [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", text))]
    edits = [_removal(node, text, starts) for node in imports]
    if any(alias.name == "annotations" for node in imports for alias in node.names):
        edits += _quoted(tree, prompt, starts)
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead.encode() + text[end:]
    return text.decode()


def _span(node: ast.stmt | ast.expr, starts: list[int]) -> tuple[int, int]:
    return starts[node.lineno - 1] + node.col_offset, starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)


def _removal(node: ast.stmt, text: bytes, starts: list[int]) -> Edit:
    """Edit that removes the line of a statement, or replaces the statement by `pass` if it shares its line."""
    start, end = _span(node, starts)
    line_end = text.find(b"\n", end)
    line_end = len(text) if line_end < 0 else line_end
    rest = text[end:line_end].strip()
    alone = text[text.rfind(b"\n", 0, start) + 1 : start].strip() == b"" and (not rest or rest.startswith(b"#"))
    return (start, line_end, "") if alone else (start, end, "pass")


def _quoted(tree: ast.Module, prompt: str, starts: list[int]) -> Iterator[Edit]:
    """Edits that quote the annotations whose evaluation might fail."""
    known = set(dir(builtins)) | _bound(prompt)
    typing = _typing_names(prompt)
    for statement in tree.body:
        for annotation in _annotations(statement):
            if not _harmless(annotation, known, typing):
                yield (*_span(annotation, starts), repr(ast.unparse(annotation)))
        known |= names(statement).bound
        if isinstance(statement, ast.ImportFrom) and statement.module in ("typing", "collections.abc"):
            typing |= names(statement).bound


def _bound(prompt: str) -> set[str]:
    try:
        return {name for node in parse(prompt).body for name in names(node).bound}
    except SyntaxError:
        return set()


def _typing_names(prompt: str) -> set[str]:
    try:
        body = parse(prompt).body
    except SyntaxError:
        return set()
    imports = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "typing"]
    return {name for node in imports for name in names(node).bound} | GENERIC


def _annotations(statement: ast.stmt) -> Iterator[ast.expr]:
    """Annotations of parameters, results, and module and class variables. Python ignores those of local variables."""
    waiting: list[tuple[ast.AST, bool]] = [(statement, False)]
    while waiting:
        node, local = waiting.pop()
        if isinstance(node, ast.arg) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, FUNCTIONS) and node.returns is not None:
            yield node.returns
        elif isinstance(node, ast.AnnAssign) and not local:
            yield node.annotation
        local = (local or isinstance(node, FUNCTIONS)) and not isinstance(node, ast.ClassDef)
        waiting.extend((child, local) for child in ast.iter_child_nodes(node))


def _harmless(annotation: ast.expr, known: set[str], typing: set[str]) -> bool:
    """Whether evaluating an annotation cannot fail: known names, alone or in the brackets of generic types."""
    match annotation:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in known
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple | ast.List) else [inner]
            return name in typing and name in known and all(_harmless(part, known, typing) for part in parts)
        case ast.List(elts=parts):
            return all(_harmless(part, known, typing) for part in parts)
    return False
