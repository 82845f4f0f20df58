"""Finds the function body at the start of a text. Runs nothing and adds nothing."""

import ast
from dataclasses import dataclass

from swarmeval.extraction.syntax import CODE_LINE, BudgetedParser, chunks, indent_of, inside_flags, shift
from swarmeval.extraction.text_fixes import without_tabs


@dataclass(frozen=True, slots=True)
class Body:
    """Statements of a function, indented to fit the prompt."""

    text: str
    cut: bool  # whether code that does not parse follows


def read_body(text: str, indent: int, parser: BudgetedParser) -> Body | None:
    """The function body at the start of a text, indented by `indent`; None if there is none.

    The lines may be indented, at the left margin, or indented except for the first. A body must contain `return`,
    `yield` or `raise`, because anything else could be prose.
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
    """The indented lines at the start of a text, moved to `indent`."""
    return shift(lines[: depth_end(lines)], indent) if indent_of(lines[0]) else []


def first_line_indented(lines: list[str], indent: int) -> list[str]:
    """Like deep_block, for a first line that lost part of its indentation, as after a stripped prompt."""
    end = 1 + depth_end(lines[1:])
    rest = shift(lines[1:end], indent)
    first = " " * indent + lines[0].lstrip()
    if lines[0].rstrip().endswith(":") and lines[1:end]:  # the rest may be the block of this line
        depths = [indent_of(line) for line in lines[1:end] if line.strip()]
        rest = lines[1:end] if depths and min(depths) > indent else rest
    return [first, *rest] if indent_of(lines[0]) < indent else []


def depth_end(lines: list[str]) -> int:
    """Index of the first line at the left margin that is not blank, a comment, or inside a string."""
    for index, (line, inside) in enumerate(zip(lines, inside_flags(lines), strict=True)):
        if not inside and line.strip() and line[0] not in " #":
            return index
    return len(lines)


def margin_block(lines: list[str], indent: int, parser: BudgetedParser) -> tuple[list[str], bool]:
    """Statements at the left margin, up to and including the first `return`, or to the first that does not parse.

    Also returns whether the part that does not parse looks like code.
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
    """Whether the only function in the tree itself returns, yields or raises."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(tree.body[0]))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Raise):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return False
