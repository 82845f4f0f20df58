"""Turns a reply into a candidate: the code that, after the task's prompt, is the judged program.

Pure and deterministic. For Python functions, selects the parts of a reply to search, with and without repairs, and
checks the syntax of the whole program. swarmeval/extraction/search.py describes the code that extraction may add.
Other kinds of answers have modules of their own.
"""

import ast
import re
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain

from swarmeval.extraction.expressions import expression
from swarmeval.extraction.infilling import middle
from swarmeval.extraction.other_languages import program
from swarmeval.extraction.regions import outermost, regions
from swarmeval.extraction.search import Extraction, Search, behind_stub
from swarmeval.extraction.syntax import CODE_LINE, BudgetedParser, describe, parse, statement_lengths
from swarmeval.extraction.text_fixes import normal_ends, unescaped, visible, with_text_fixes
from swarmeval.extraction.thoughts import without_thoughts
from swarmeval.extraction.whole_programs import whole_program
from swarmeval.extraction.windows import READ_CHARS, windows
from swarmeval.records import Candidate, Form, Outcome, Task

SEARCH_CHARS = 80_000  # parse budget of one search, over all attempts
CHECK_CHARS = 120_000  # longer programs are checked only in the sandbox, whose limits also cover the parser
BLACK_CHARS = 6_000  # black formats about 12,000 characters of dense code per second on a slow core
BLACK_SQUARES = 1_200_000  # sum over statements: black takes a second for a chain of 1,000 characters, 4 s for 2,000
LANGUAGE = re.compile(r"\A\s*(?:python3?|py)[ \t]*\n")  # language tag of a fence that the prompt has opened
STAND_IN = "def body():\n"


def candidate(text: str, form: Form, task: Task, use_black: bool = False, any_name: bool = False) -> Candidate:
    """Get the candidate from a text, and check whether its program parses.

    A "completion" is used unchanged, a "solution" is a whole program, and code is extracted from a "reply". With
    `any_name`, the only function of a reply may have a name other than the entry point.
    """
    if not text.strip():
        return Candidate("", "the reply is empty", Outcome.EMPTY)
    if task.answer == "expression":
        return expression(text, task)
    if task.answer == "program":
        found = whole(text, form, task)
    elif task.language != "python":
        return program(text, form, task)
    elif task.ending or task.infilling:
        code, note = middle(text, task.prompt, task.ending) if form == "reply" else (text, "as given")
        found = checked(code, task, note)
    else:
        found = function(text, form, task, use_black, any_name)
    if task.executed is not None and found.code:
        return replace(found, code=f"{task.prompt}{found.code}{task.ending}")
    return found


def whole(text: str, form: Form, task: Task) -> Candidate:
    """The candidate for a task that asks for a whole program. Only Python is checked here."""
    if form != "reply":
        code, note = (text, "as given") if form == "completion" else (normal_ends(text), "whole program")
    else:
        found = whole_program(text, task)
        if found is None:
            return Candidate("", "no code in the reply", Outcome.EMPTY)
        code, note = found
    if task.language != "python":
        return Candidate(code, note=note)
    return checked(code if form == "completion" else behind_stub(code, task.prompt), task, note)


def function(text: str, form: Form, task: Task, use_black: bool, any_name: bool) -> Candidate:
    """The candidate of a Python function."""
    if form == "completion":
        return checked(text, task, "as given")
    if form == "solution":
        return formatted(checked(behind_stub(normal_ends(text), task.prompt), task, "whole program"), task, use_black)
    return formatted(extracted(text, task, any_name), task, use_black)


def extracted(text: str, task: Task, any_name: bool = False) -> Candidate:
    """The best code in a raw reply; the outcome is EMPTY or BAD_SYNTAX if there is none."""
    reply = normal_ends(text)
    answer = without_thoughts(reply)
    parser = BudgetedParser()
    for part in [answer] if answer == reply else [answer, reply]:  # thoughts only if nothing else contains code
        extraction = search_text(part, task, parser, any_name)
        if extraction is not None and extraction.completion:
            return checked(extraction.completion, task, extraction.note)
    if extraction is not None:
        return Candidate("", extraction.note, Outcome.EMPTY)
    broken = broken_code(answer if answer.strip() else reply, task)
    if broken is not None:
        return checked(behind_stub(broken, task.prompt), task, "no program in it")
    return Candidate("", "no code in the reply", Outcome.EMPTY)


def search_text(text: str, task: Task, parser: BudgetedParser, any_name: bool) -> Extraction | None:
    """Search a text of any length: its beginning for a continuation of the prompt, then its end, then the rest."""
    texts = windows(text, rf"\bdef[ \t]+{re.escape(task.entry_point)}\b")
    head, *later = [ReplyPart(part, task, parser, any_name, begins=number == 0) for number, part in enumerate(texts)]
    first = head.plain
    if first is not None and first.sure and (not later or first.note.startswith("continuation")):
        return first
    for extraction in chain((part.plain for part in later), (part.best for part in later)):
        if extraction is not None and extraction.sure:
            return extraction
    others = [extraction for part in (head, *later) if (extraction := part.best) is not None]
    return next((extraction for extraction in others if extraction.completion), others[0] if others else None)


class ReplyPart:
    """A part of a reply and the code in it, with and without repairs. Each search has its own budget."""

    def __init__(self, text: str, task: Task, parser: BudgetedParser, any_name: bool, begins: bool) -> None:
        self._task = task
        shown = visible(text)
        shown = LANGUAGE.sub("", shown, count=1) if begins else shown
        self._regions = [replace(region, text=unescaped(region.text)) for region in regions(shown)]
        self._span = outermost(shown)
        self._search = partial(Search, task=task, any_name=any_name, begins=begins)
        self._parser = parser

    @cached_property
    def plain(self) -> Extraction | None:
        """The code without repairs."""
        extra = [self._span] if self._span else []
        return self._search(self._regions, extra, parser=self._parser.part(SEARCH_CHARS)).best()

    @cached_property
    def best(self) -> Extraction | None:
        """The code without repairs if that is a complete answer; otherwise the code after repairs, if that is."""
        extraction = self.plain
        if extraction is not None and extraction.sure:
            return extraction
        fixed = [replace(region, text=with_text_fixes(region.text, self._task.entry_point)) for region in self._regions]
        if fixed == self._regions:
            return extraction
        second = self._search(fixed, [], parser=self._parser.part(SEARCH_CHARS)).best()
        if second is None or (extraction is not None and not second.sure):
            return extraction
        return Extraction(second.completion, f"{second.note}, repaired", second.sure)


def broken_code(text: str, task: Task) -> str | None:
    """Intended code that does not parse: a fenced block, or text that defines the entry point; None if missing."""
    blocks = regions(visible(text[:READ_CHARS]))
    head = re.compile(rf"^[ \t>+.|:\d-]*(?:async[ \t]+)?def[ \t]+{re.escape(task.entry_point)}\b", re.MULTILINE)
    code_like = [r.text for r in blocks if r.fenced or head.search(r.text)]
    return code_like[-1] if code_like else next((r.text for r in blocks if starts_indented(r.text)), None)


def starts_indented(text: str) -> bool:
    """Whether the first line is an indented statement."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first[:1] in (" ", "\t") and CODE_LINE.match(first) is not None


def checked(completion: str, task: Task, note: str) -> Candidate:
    """Make a candidate, checking that prompt, completion and ending parse together."""
    if len(completion) > CHECK_CHARS:
        return Candidate(completion, note=f"{note}, too long to be checked")
    try:
        parse(task.prompt + completion + task.ending)
    except SyntaxError as error:
        return Candidate(completion, describe(error), Outcome.BAD_SYNTAX, note)
    return Candidate(completion, note=note)


def formatted(unformatted: Candidate, task: Task, use_black: bool) -> Candidate:
    """Format a candidate with black; return it unchanged if that would change the syntax tree."""
    if not use_black or unformatted.outcome is not None or len(unformatted.code) > BLACK_CHARS:
        return unformatted
    if sum(length**2 for length in statement_lengths(unformatted.code.split("\n"))) > BLACK_SQUARES:
        return unformatted
    import black

    head = STAND_IN if unformatted.code.lstrip("\n").startswith((" ", "\t")) else ""  # a body needs a function header
    try:
        styled = black.format_file_contents(head + unformatted.code, fast=True, mode=black.Mode())
        completion = "\n" * (not head) + styled.removeprefix(head)
        same = ast.dump(parse(task.prompt + completion)) == ast.dump(parse(task.prompt + unformatted.code))
    except Exception:  # noqa: BLE001 (black may raise anything on strange code; then the code stays unchanged)
        return unformatted
    return Candidate(completion, note=f"{unformatted.note}, black") if same else unformatted
