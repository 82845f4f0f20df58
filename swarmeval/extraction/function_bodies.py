"""Finds the function body that a stretch of text begins with. Runs nothing and adds nothing."""

import ast
from dataclasses import dataclass

from swarmeval.extraction.syntax import CODE_LINE, BudgetedParser, chunks, indent_of, inside_flags, shift
from swarmeval.extraction.text_fixes import without_tabs


@dataclass(frozen=True, slots=True)
class Body:
    """Statements of a function, indented as the prompt asks."""

    text: str
    cut: bool  # more code followed, which does not parse


def read_body(text: str, indent: int, parser: BudgetedParser) -> Body | None:
    """The function body a text begins with, indented by `indent`; None when it does not begin with one.

    Lines may stand at the body's own depth, at the left margin, or all but the first one at depth. A body gives
    something back: without `return`, `yield` or `raise` it could be prose.
    """
    lines = without_tabs(text).split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    if not lines:
        return None
    best: list[str] = []
    cut = False
    head = f"def body():\n{' ' * indent}pass\n"
    margin, stopped = margin_block(lines, indent, parser)
    for block in (deep_block(lines, indent), first_line_indented(lines, indent), margin):
        length, tree = parser.prefix(block, head)
        if length > len(best) and gives_back(tree):
            best = block[:length]
            cut = any(line.strip() for line in block[length:]) or (block is margin and stopped)
    return Body("\n".join(best) + "\n", cut) if best else None


def deep_block(lines: list[str], indent: int) -> list[str]:
    """The indented lines a text begins with, moved to `indent`."""
    return shift(lines[: depth_end(lines)], indent) if indent_of(lines[0]) else []


def first_line_indented(lines: list[str], indent: int) -> list[str]:
    """The same where the first line lost its indentation, wholly or in part, as after a prompt cut at its end."""
    end = 1 + depth_end(lines[1:])
    rest = shift(lines[1:end], indent)
    first = " " * indent + lines[0].lstrip()
    if lines[0].rstrip().endswith(":") and lines[1:end]:  # the rest may be this line's own block, and nothing else
        depths = [indent_of(line) for line in lines[1:end] if line.strip()]
        rest = lines[1:end] if depths and min(depths) > indent else rest
    return [first, *rest] if indent_of(lines[0]) < indent else []


def depth_end(lines: list[str]) -> int:
    """Where the first line at the left margin stands that is neither blank, comment nor inside a string."""
    for index, (line, inside) in enumerate(zip(lines, inside_flags(lines), strict=True)):
        if not inside and line.strip() and line[0] not in " #":
            return index
    return len(lines)


def margin_block(lines: list[str], indent: int, parser: BudgetedParser) -> tuple[list[str], bool]:
    """Statements at the left margin, up to the first that does not parse or defines something after a `return`.

    And whether what did not parse looks like code.
    """
    end, cut = 0, False
    for start, stop in chunks(lines):
        try:
            body = parser.parse("\n".join(lines[start:stop])).body
        except SyntaxError:
            cut = CODE_LINE.match(lines[start]) is not None
            break
        end = stop
        if any(isinstance(node, ast.Return) for node in body):
            break
    return shift(lines[:end], indent), cut


def gives_back(tree: ast.Module) -> bool:
    """Whether the one function in the tree returns, yields or raises by itself."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(tree.body[0]))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Raise):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return False
