"""Reads the statements of a test file from a reply, each with its text. Broken parts do not affect the others.

Pure. Knows nothing about names or other replies.
"""

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from swarmeval.extraction.regions import regions
from swarmeval.extraction.syntax import BudgetedParser, check, chunks, describe, parse
from swarmeval.extraction.text_fixes import normal_ends, unescaped, visible
from swarmeval.extraction.thoughts import without_thoughts
from swarmeval.testgen.scopes import Definition

READ_CHARS = 60_000  # the rest of a longer reply is ignored
DEFINES = ("def ", "async ", "class ", "@")


@dataclass(frozen=True, slots=True)
class ReplyStatement:
    """One module-level statement."""

    node: ast.stmt
    text: str  # original text; "" if it shares a line with another statement


@dataclass(slots=True)
class ReplyCode:
    """The code of a reply, in order."""

    statements: list[ReplyStatement] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # errors of definitions that do not parse or compile


def read(text: str, is_code: bool = False) -> ReplyCode:
    """Read the code of a reply, or with `is_code` of a module's source."""
    code = ReplyCode()
    parser = BudgetedParser(2 * READ_CHARS)
    for block in [text] if is_code else code_blocks(text[:READ_CHARS]):
        _read(block, parser, code)
    return code


def code_blocks(reply: str) -> list[str]:
    """The fenced or tagged blocks of a reply; the whole reply if it has none."""
    text = normal_ends(reply)
    answer = without_thoughts(text)
    shown = visible(answer if answer.strip() else text)
    all_regions = regions(shown)
    blocks = [region for region in all_regions if region.fenced] or [region for region in all_regions if region.tagged]
    return [unescaped(region.text) for region in blocks or all_regions]


def _read(block: str, parser: BudgetedParser, code: ReplyCode) -> None:
    """Read a block as a whole or, if it does not parse, part by part."""
    source = textwrap.dedent(block)
    try:
        tree = parser.parse(source)
    except SyntaxError as error:
        lines = source.split("\n")
        parts = ["\n".join(lines[start:end]) for start, end in chunks(lines)]
        if len(parts) > 1:
            for part in parts:
                _read(part, parser, code)
        elif source.startswith(DEFINES):
            code.broken.append(describe(error))
        return
    for statement in statements(source, tree):
        try:
            if isinstance(statement.node, Definition):
                check(statement.node)
            code.statements.append(statement)
        except SyntaxError as error:
            code.broken.append(describe(error))


def statements(source: str, tree: ast.Module) -> Iterator[ReplyStatement]:
    lines = source.split("\n")
    used: set[int] = set()  # lines seen, because two statements may share a line
    for node in tree.body:
        start = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        end = node.end_lineno or start
        text = "\n".join(lines[start - 1 : end])
        yield ReplyStatement(node, "" if used & {start, end} or node.col_offset else text)
        used |= {start, end}


def is_same_statement(text: str, node: ast.stmt) -> bool:
    """Whether a text consists of exactly this statement."""
    try:
        body = parse(text).body
    except SyntaxError:
        return False
    return len(body) == 1 and ast.dump(body[0]) == ast.dump(node)
