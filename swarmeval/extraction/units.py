"""Splits code of languages other than Python into its statements, by their brackets, block words and lines.

Knows strings and comments of each language through swarmeval/extraction/languages.py. Parses no grammar.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from swarmeval.extraction.languages import Language

FILLER = '"'  # replaces strings, which are neither words nor blank
HEAD_CHARS = 600  # of a statement, in which the names that it binds are sought
WORD = re.compile(r"[\w$]+")
DOTTED = re.compile(r"\b\w+(?:\.\w+)+")  # a name in R, an attribute elsewhere
NOT_BLANK = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Unit:
    """One statement with the comments above it."""

    text: str
    masked: str  # the text without comments and what strings hold; of the same length
    names: frozenset[str]  # that it binds
    defines: bool  # whether it is a definition of a function or type
    imports: bool
    closed: bool  # whether its brackets and blocks are closed

    @property
    def words(self) -> frozenset[str]:
        return frozenset(WORD.findall(self.masked)) | frozenset(DOTTED.findall(self.masked))


def masked(text: str, language: Language) -> str:
    """The text with comments replaced by spaces and strings by quotes. Newlines and length stay."""

    def filler(match: re.Match[str]) -> str:
        before = match.groupdict().get("before") or ""
        hidden = match.group()[len(before) :]
        fill = FILLER if hidden[0] in "\"'`/[%mqsrtyb" and not hidden.startswith(("//", "/*")) else " "
        return before + re.sub(r"[^\n]", fill, hidden)

    return language.hidden.sub(filler, text)


def units(text: str, language: Language) -> list[Unit]:
    """The statements of a text, in order. Comments at its end are left out."""
    hidden = masked(text, language)
    starts, closed = line_starts(hidden, language, recover=False)
    if not closed:
        starts, closed = line_starts(hidden, language, recover=True)
    places = [*starts, len(text)]
    found = []
    for start, end in pairwise(places):
        if NOT_BLANK.search(hidden, start, end):
            last = end == len(text)
            found.append(unit(text[start:end].strip("\n"), hidden[start:end].strip("\n"), language, closed or not last))
    return found


def unit(text: str, hidden: str, language: Language, closed: bool) -> Unit:
    text, hidden = text.rstrip(), hidden[: len(text.rstrip())]
    head = statement_head(hidden, language)
    definition = language.definition.match(head)
    bound = definition or (language.assignment.match(head) if language.assignment else None)
    names = {name for name in bound.groups() if name} if bound else set()
    if definition and language.assignment is None:
        names |= called(head)
    imports = language.imports.match(head) is not None
    return Unit(text, hidden, frozenset(names), definition is not None, imports, closed)


def called(head: str) -> set[str]:
    """Names before parentheses in the head of a declaration, as in `std::function<int(int)> name(int x) {`."""
    return set(re.findall(r"(\w+)\s*\(", head.partition("{")[0]))


def statement_head(hidden: str, language: Language) -> str:
    """The start of a statement, behind attributes and annotations."""
    start = NOT_BLANK.search(hidden)
    head = hidden[start.start() :][:HEAD_CHARS] if start else ""
    while language.leads is not None and (lead := language.leads.match(head)):
        _, newline, rest = head[lead.end() :].partition("\n")
        if not newline:
            break
        head = rest.lstrip()
    return head


def line_starts(hidden: str, language: Language, recover: bool) -> tuple[list[int], bool]:
    """(positions where statements start, whether all brackets and blocks are closed).

    With `recover`, a definition at the margin ends what is open above it.
    """
    tokens = re.compile(rf"(?P<opens>{language.opens})|(?P<closes>{language.closes})|(?P<line>\n)", re.MULTILINE)
    lines = StatementLines(hidden, language, recover)
    depth = 0
    lines.take(0, depth)
    for token in tokens.finditer(hidden):
        if token["line"]:
            depth = lines.take(token.end(), depth)
        elif token["opens"]:
            depth += opened(token["opens"])
        else:
            depth = max(0, depth - 1)
    return lines.starts, depth == 0


class StatementLines:
    """Decides which lines start a statement. Blank lines, comments and attributes belong to the statement below."""

    def __init__(self, hidden: str, language: Language, recover: bool) -> None:
        self._hidden = hidden
        self._language = language
        self._recover = recover
        self._margin = -1  # indentation of the first statement
        self._pending = 0  # position from which lines belong to the next statement; -1 if there are none
        self.starts: list[int] = []

    def take(self, start: int, depth: int) -> int:
        """Read the line at a position, and return the depth at its start."""
        end = self._hidden.find("\n", start)
        line = self._hidden[start : end if end >= 0 else len(self._hidden)]
        code = line.lstrip()
        if not code:
            if self._pending < 0 and depth == 0:
                self._pending = start
            return depth
        indent = len(line) - len(code)
        self._margin = indent if self._margin < 0 else self._margin
        margin = indent <= self._margin
        if depth and self._recover and margin and self._language.definition.match(code):
            depth = 0
        if depth == 0 and self._language.leads is not None and self._language.leads.match(code):
            self._pending = start if self._pending < 0 else self._pending
        elif depth == 0 and margin and (not self.starts or not self._language.continues.match(code)):
            self.starts.append(start if self._pending < 0 else self._pending)
            self._pending = -1
        else:
            self._pending = -1
        return depth


def block_end(hidden: str, language: Language) -> int:
    """Position behind the bracket or word that closes the first block of masked code; its length if it is open."""
    for depth, end, token in depths(hidden, language):
        if depth == 0 and token[-1] in "}d":  # a brace or the word "end"
            return end
    return len(hidden)


def closes_more(hidden: str, language: Language) -> bool:
    """Whether masked code closes a block that it does not open."""
    return any(depth < 0 for depth, _, _ in depths(hidden, language))


def depths(hidden: str, language: Language) -> Iterator[tuple[int, int, str]]:
    """(depth behind it, its end, its text) of each token that opens or closes a block."""
    depth = 0
    for token in re.finditer(rf"(?P<opens>{language.opens})|(?:{language.closes})", hidden, re.MULTILINE):
        depth += opened(token["opens"]) if token["opens"] else -1
        yield depth, token.end(), token.group()


def opened(token: str) -> int:
    """The number of blocks that a token opens. A bracket and a word behind it are one token in Ruby."""
    return 1 + (len(token) > 1 and token[0] in "([{")
