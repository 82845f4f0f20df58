"""Parses Python source safely, and analyses its lines and indentation. Independent of replies and tasks."""

import ast
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PARSE_BUDGET_CHARS = 240_000  # per reply, over all attempts; dense code parses at up to 400,000 characters/s
CALL_CHARS = 30  # overhead of one parser call, in characters
PREFIX_TRIES = 16

OPENING = re.compile(r"[\"'(\[{]")  # without any, no line starts inside anything
# An unclosed string extends to the end of its line, so that no character is scanned twice.
STRING_OR_BRACKET = re.compile(
    r'"""|\'\'\'|"(?:\\.|[^"\\\n])*+"?|\'(?:\\.|[^\'\\\n])*+\'?|#[^\n]*|[()\[\]{}]|\n', re.DOTALL
)  # fmt: skip
NEW_CODE = re.compile(r"(?:async\s+def|def|class|import|from|@)\b")
CONTINUES = re.compile(r"(?:elif|else|except|finally)\b|[)\]}#]")

# Start of a line that is probably code, not prose.
STATEMENT = r"(?:return|for|while|if|with|try|def|import|from|raise|yield|assert)\b"
ASSIGNMENT = r"[\w.]+(?:\[[^\]\n]*\])?[ \t]*[-+*/|&]?=[^=]"
CODE_LINE = re.compile(rf"[ \t]*(?:{STATEMENT}|{ASSIGNMENT})")

# Extraction runs in threads, but warnings.catch_warnings affects the whole process, and CPython 3.11 confuses the
# recursion depth of concurrent ast.parse calls (SystemError: AST constructor recursion depth mismatch).
_parsing = threading.Lock()


class BudgetSpent(SyntaxError):
    """The parse budget is used up."""


@dataclass(slots=True)
class BudgetedParser:
    """ast.parse with a budget of characters, so that a hostile reply cannot cause endless parsing."""

    left_chars: int = PARSE_BUDGET_CHARS
    whole: "BudgetedParser | None" = None  # parser whose budget includes this one

    def part(self, chars: int) -> "BudgetedParser":
        """A parser that may use up to `chars` of this parser's budget."""
        return BudgetedParser(chars, self)

    def parse(self, source: str) -> ast.Module:
        """Parse a source. Raises SyntaxError for an invalid source, and BudgetSpent once the budget is used up."""
        self._spend(len(source) + CALL_CHARS)
        return parse(source)

    def _spend(self, chars: int) -> None:
        if self.left_chars < chars:
            raise BudgetSpent("too long to be searched")
        if self.whole is not None:
            self.whole._spend(chars)
        self.left_chars -= chars

    def prefix(self, lines: list[str], head: str = "") -> tuple[int, ast.Module]:
        """Number of leading lines that parse together after `head` (complete lines), and their tree.

        The number is 0 if PREFIX_TRIES attempts find none.
        """
        end, above = len(lines), head.count("\n")
        for _ in range(PREFIX_TRIES):
            if end <= 0:
                break
            try:
                return end, self.parse(head + "\n".join(lines[:end]) + "\n")
            except SyntaxError as error:
                end = min(end - 1, (error.lineno or end) - above - 1)
        return 0, ast.Module([], [])


@contextmanager
def parsing() -> Iterator[None]:
    """Context for every use of Python's parser: serializes threads and suppresses warnings."""
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse(source: str) -> ast.Module:
    """ast.parse without warnings, which raises only SyntaxError."""
    with parsing():
        try:
            return ast.parse(source)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error


def check(statement: ast.stmt) -> None:
    """Raises SyntaxError for a statement that parses but does not compile.

    Examples are return outside a function, duplicate parameters, and nesting that is too deep.
    """
    with parsing():
        try:
            compile(ast.Module([statement], []), "<string>", "exec", dont_inherit=True)
            ast.dump(statement)
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise SyntaxError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error


def body_indent(prompt: str) -> int:
    """The indentation of the body of the prompt's function."""
    lines = [line for line in prompt.split("\n") if line.strip()]
    return (indent_of(lines[-1]) if lines else 0) or 4


def stub_end(prompt: str) -> str:
    """The text that completes a prompt to a stub; usually empty, `pass` if it ends in a signature or comment."""
    last = next((line for line in reversed(prompt.split("\n")) if line.strip()), "")
    for end in ("", *(" " * depth + "pass\n" for depth in (body_indent(prompt), indent_of(last) + 4))):
        try:
            parse(prompt + end)
        except SyntaxError:
            continue
        return end
    return ""


def describe(error: SyntaxError) -> str:
    """Describe a syntax error in one line: line number, message, and source text."""
    where = f"line {error.lineno}: " if error.lineno else ""
    text = " ".join((error.text or "").split())[:120]
    return f"{where}{error.msg}" + (f": {text!r}" if text else "")


def inside_flags(lines: list[str]) -> list[bool]:
    """For each line, whether it starts inside a string or bracket. A new statement ends brackets left open by prose."""
    text = "\n".join(lines)
    if not OPENING.search(text):
        return [False] * len(lines)
    flags = [False]
    depth, position, quote = 0, 0, ""
    while position < len(text):
        if quote:
            end = text.find(quote, position)
            end = len(text) if end < 0 else end
            flags.extend([True] * text.count("\n", position, end))
            position, quote = end + 3, ""
            continue
        match = STRING_OR_BRACKET.search(text, position)
        if match is None:
            break
        token, position = match.group(), match.end()
        if token in ('"""', "'''"):
            quote = token
        elif token == "\n":
            depth = 0 if NEW_CODE.match(text, position) else depth
            flags.append(depth > 0)
        elif token in "([{":
            depth += 1
        elif token in ")]}":
            depth = max(0, depth - 1)
        else:
            flags.extend([depth > 0] * token.count("\n"))  # a string continued over a backslash
    flags.extend([False] * (len(lines) - len(flags)))
    return flags[: len(lines)]


def statement_lengths(lines: list[str]) -> list[int]:
    """The number of characters of each statement, over all of its lines. Those on one line count together."""
    lengths = [0]
    for line, inside, before in zip(lines, inside_flags(lines), ["", *lines], strict=False):
        if inside or before.endswith("\\"):
            lengths[-1] += len(line)
        else:
            lengths.append(len(line))
    return lengths


def chunks(lines: list[str]) -> list[tuple[int, int]]:
    """[start, end) line ranges, one per statement or line of prose at the left margin.

    Decorators belong to the definition below; comments, blank and indented lines to the statement above.
    """
    starts = [0]
    decorated = False
    for index, (line, inside) in enumerate(zip(lines, inside_flags(lines), strict=True)):
        if inside or not line.strip() or line[0] in " \t" or CONTINUES.match(line):
            continue
        if index > 0 and not decorated:
            starts.append(index)
        decorated = line.startswith("@")
    return list(zip(starts, [*starts[1:], len(lines)], strict=True))


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def expand_tabs(line: str) -> str:
    """Expand leading tabs to four spaces each, matching the style of the prompts."""
    content = line.lstrip(" \t")
    return line[: len(line) - len(content)].expandtabs(4) + content


def shift(lines: list[str], indent: int) -> list[str]:
    """Shift a block so that its least indented line is at `indent`. Lines inside strings do not change."""
    flags = inside_flags(lines)
    own = [line for line, inside in zip(lines, flags, strict=True) if line.strip() and not inside]
    by = indent - min((indent_of(line) for line in own if not line.lstrip().startswith("#")), default=indent)
    moved = []
    for line, inside in zip(lines, flags, strict=True):
        if inside or not line.strip() or by == 0:
            moved.append(line)
        else:
            moved.append(" " * by + line if by > 0 else line[min(-by, indent_of(line)) :])
    return moved
