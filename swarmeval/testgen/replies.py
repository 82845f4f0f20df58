"""Reply -> the statements of a test file that it holds, each with its own text; what does not parse harms nothing else.

Pure. Knows no names and no other replies.
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

READ_CHARS = 60_000  # of a reply; what is behind is not read
DEFINES = ("def ", "async ", "class ", "@")


@dataclass(frozen=True, slots=True)
class ReplyStatement:
    """One statement at the left margin."""

    node: ast.stmt
    text: str  # as it stood; "" where it shares its lines


@dataclass(slots=True)
class ReplyCode:
    """What a reply held, in its order."""

    statements: list[ReplyStatement] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # definitions that do not parse or compile, and why


def read(text: str, is_code: bool = False) -> ReplyCode:
    """The code of a reply, or of what is a module's source."""
    code = ReplyCode()
    parser = BudgetedParser(2 * READ_CHARS)
    for block in [text] if is_code else code_blocks(text[:READ_CHARS]):
        _read(block, parser, code)
    return code


def code_blocks(reply: str) -> list[str]:
    """The fenced or tagged blocks of a reply; the whole of one that has none."""
    text = normal_ends(reply)
    answer = without_thoughts(text)
    shown = visible(answer if answer.strip() else text)
    all_regions = regions(shown)
    blocks = [region for region in all_regions if region.fenced] or [region for region in all_regions if region.tagged]
    return [unescaped(region.text) for region in blocks or all_regions]


def _read(block: str, parser: BudgetedParser, code: ReplyCode) -> None:
    """All of it, or each of its parts that can be had."""
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
    used: set[int] = set()  # lines: two statements may share one
    for node in tree.body:
        start = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        end = node.end_lineno or start
        text = "\n".join(lines[start - 1 : end])
        yield ReplyStatement(node, "" if used & {start, end} or node.col_offset else text)
        used |= {start, end}


def is_same_statement(text: str, node: ast.stmt) -> bool:
    """Whether the text is this statement and nothing else."""
    try:
        body = parse(text).body
    except SyntaxError:
        return False
    return len(body) == 1 and ast.dump(body[0]) == ast.dump(node)
