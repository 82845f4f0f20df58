"""Python source text: parsing that cannot surprise, and where its lines stand. Knows no replies and no tasks."""

import ast
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PARSE_BUDGET_CHARS = 240_000  # of one reply, over all attempts; dense code parses at 400,000 a second or fewer
CALL_CHARS = 30  # what a call of the parser takes beside the text, in characters
PREFIX_TRIES = 16

# A string that is not closed goes to the end of its line, so that no character is read twice.
STRING_OR_BRACKET = re.compile(
    r'"""|\'\'\'|"(?:\\.|[^"\\\n])*+"?|\'(?:\\.|[^\'\\\n])*+\'?|#[^\n]*|[()\[\]{}]|\n', re.DOTALL
)  # fmt: skip
NEW_CODE = re.compile(r"(?:async\s+def|def|class|import|from|@)\b")
CONTINUES = re.compile(r"(?:elif|else|except|finally)\b|[)\]}#]")

# How code that goes on begins: a statement. Prose seldom looks like it.
STATEMENT = r"(?:return|for|while|if|with|try|def|import|from|raise|yield|assert)\b"
ASSIGNMENT = r"[\w.]+(?:\[[^\]\n]*\])?[ \t]*[-+*/|&]?=[^=]"
CODE_LINE = re.compile(rf"[ \t]*(?:{STATEMENT}|{ASSIGNMENT})")

# Extraction runs in threads; warnings.catch_warnings changes the whole process, and CPython 3.11 mistakes the recursion
# of two threads in ast.parse for that of one (SystemError: AST constructor recursion depth mismatch).
_parsing = threading.Lock()


class BudgetSpent(SyntaxError):
    """Not parsed, because too much was before."""


@dataclass(slots=True)
class BudgetedParser:
    """ast.parse within a budget of characters, so that a hostile reply cannot buy time with many attempts."""

    left_chars: int = PARSE_BUDGET_CHARS
    whole: "BudgetedParser | None" = None  # whose budget this one is a part of

    def part(self, chars: int) -> "BudgetedParser":
        """A parser that may spend so much of this one's budget."""
        return BudgetedParser(chars, self)

    def parse(self, source: str) -> ast.Module:
        """Raises SyntaxError for whatever keeps the source from being a program, BudgetSpent when that is spent."""
        self._spend(len(source) + CALL_CHARS)
        return parse(source)

    def _spend(self, chars: int) -> None:
        if self.left_chars < chars:
            raise BudgetSpent("too long to be searched")
        if self.whole is not None:
            self.whole._spend(chars)
        self.left_chars -= chars

    def prefix(self, lines: list[str], head: str = "") -> tuple[int, ast.Module]:
        """How many of the first lines parse together, after `head` (whole lines), and their tree.

        0 when a few attempts find none.
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
    """For whoever has Python parsed, by whatever means: one at a time, and without warnings."""
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse(source: str) -> ast.Module:
    """ast.parse without warnings; every refusal is a SyntaxError."""
    with parsing():
        try:
            return ast.parse(source)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error


def check(statement: ast.stmt) -> None:
    """Raises SyntaxError for what parses and is no program all the same: return outside a function, two parameters of
    one name, what is nested too deeply.
    """
    with parsing():
        try:
            compile(ast.Module([statement], []), "<string>", "exec", dont_inherit=True)
            ast.dump(statement)
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise SyntaxError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error


def body_indent(prompt: str) -> int:
    """The depth at which the prompt's function goes on."""
    lines = [line for line in prompt.split("\n") if line.strip()]
    return (indent_of(lines[-1]) if lines else 0) or 4


def stub_end(prompt: str) -> str:
    """What makes a stub of a prompt that ends in a signature or a comment below it; mostly nothing."""
    last = next((line for line in reversed(prompt.split("\n")) if line.strip()), "")
    for end in ("", *(" " * depth + "pass\n" for depth in (body_indent(prompt), indent_of(last) + 4))):
        try:
            parse(prompt + end)
        except SyntaxError:
            continue
        return end
    return ""


def describe(error: SyntaxError) -> str:
    """One line: where, what, and the text there."""
    where = f"line {error.lineno}: " if error.lineno else ""
    text = " ".join((error.text or "").split())[:120]
    return f"{where}{error.msg}" + (f": {text!r}" if text else "")


def inside_flags(lines: list[str]) -> list[bool]:
    """For each line, whether it begins inside a string or bracket. Prose leaves no bracket open for long."""
    text = "\n".join(lines)
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


def chunks(lines: list[str]) -> list[tuple[int, int]]:
    """[start, end) line ranges, one for each statement or line of prose that begins at the left margin.

    Decorators belong to what they decorate; comments, blanks and indented lines to what stands above them.
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
    """Leading tabs as four spaces each, as editors of the prompts' style show them."""
    content = line.lstrip(" \t")
    return line[: len(line) - len(content)].expandtabs(4) + content


def shift(lines: list[str], indent: int) -> list[str]:
    """Move the block so that its least indented line stands at `indent`. What is inside strings stays as it is."""
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
