"""Reply -> candidate: the text that makes, behind the task's prompt, the very program that is judged.

Pure and deterministic. Knows how to choose between what regions.py and programs.py find, and checks the syntax of the
whole program. It never adds code that the reply does not hold.
"""

import ast
import re
import textwrap

from bench.programs import Program, missing_names, read_body, read_program
from bench.records import Candidate, Form, Outcome, Task
from bench.regions import Region, indented_runs, normal_text, outermost, regions, without_thoughts
from bench.syntax import Parser, describe, indent_of, parse

READ_CHARS = 32_000  # of a reply, thoughts aside: more than any model writes for one function
CHECK_CHARS = 120_000  # what is longer is left to the sandbox, whose limits hold for the parser too
RUNS = 20  # indented stretches of prose that are looked into
# How a body begins that goes on where the prompt ends: a statement, indented. Prose seldom looks like it.
STATEMENT = r"(?:return|for|while|if|with|try|def|import|from|raise|yield|assert)\b"
ASSIGNMENT = r"[\w.]+(?:\[[^\]\n]*\])?[ \t]*[-+*/|&]?=[^=]"
BODY_LINE = re.compile(rf"\s*[ \t]+(?:{STATEMENT}|{ASSIGNMENT})")
STAND_IN = "def body():\n"
MARGIN = re.compile(r"^\S", re.MULTILINE)
FUTURE_IMPORT = re.compile(r"^from[ \t]+__future__[ \t]+import\b[^\n(]*(?:\([^)]{0,500}\))?[^\n]*$", re.MULTILINE)


def candidate(text: str, form: Form, task: Task, use_black: bool = False) -> Candidate:
    """The code in a completion, and whether the program it makes parses.

    "completion" is taken as it is; "solution" is a whole program; from "reply" the code is extracted.
    """
    if not text.strip():
        return Candidate("", "the reply is empty", Outcome.EMPTY)
    if form == "completion":
        return checked(text, task, "as given")
    if form == "solution":
        return formatted(checked(behind_stub(normal_ends(text)), task, "whole program"), task, use_black)
    return formatted(extracted(text, task), task, use_black)


def extracted(text: str, task: Task) -> Candidate:
    """The best code in a raw reply; EMPTY or BAD_SYNTAX when there is none."""
    reply = normal_text(text)
    answer = without_thoughts(reply)
    for part in [answer] if answer == reply else [answer, reply]:  # thoughts only where nothing else holds code
        found = Search(part[:READ_CHARS], task).best()
        if found is not None:
            completion, note = found
            return checked(completion, task, note)
    broken = broken_code(answer or reply, task)
    if broken is not None:
        return checked(behind_stub(broken), task, "no part of it parses")
    return Candidate("", "no code in the reply", Outcome.EMPTY)


class Search:
    """One look through a reply: the ways code can stand in it, best first."""

    def __init__(self, text: str, task: Task) -> None:
        self._task = task
        self._text = text
        self._parser = Parser()
        self._indent = body_indent(task.prompt)
        self._regions = regions(text)

    def best(self) -> tuple[str, str] | None:
        """A completion and how it was found."""
        return self._continuation() or self._program() or self._body()

    def _continuation(self) -> tuple[str, str] | None:
        """A reply that simply goes on where the prompt ends: what follows the body is talk."""
        if not self._regions or self._regions[0].fenced or starts_a_definition(self._text):
            return None
        first = self._regions[0].text
        body = read_body(first, self._indent, self._parser)
        return None if body is None else (self._with_helpers(body, first), "continuation")

    def _program(self) -> tuple[str, str] | None:
        """The last complete definition, in fences first; then a definition that was cut; then other definitions."""
        programs = [(region, self._read(region)) for region in self._regions]
        if not any(program is not None and program.complete for _, program in programs):
            span = outermost(self._text)
            others = [*self._indented_runs(), *([span] if span is not None else [])]
            programs += [(region, self._read(region)) for region in others]
        held = [(region, program) for region, program in programs if program is not None]
        for wanted in (
            [(r, p) for r, p in held if r.fenced and p.complete],
            [(r, p) for r, p in held if p.complete],
            [(r, p) for r, p in held if p.defines],
        ):
            if wanted:
                region, program = wanted[-1]
                return behind_stub(self._supplied(program, held)), note(region, program)
        return None

    def _indented_runs(self) -> list[Region]:
        """Stretches outside fences that stand indented behind a blank line, as Markdown writes code too."""
        runs = [Region(run) for region in self._regions if not region.fenced for run in indented_runs(region.text)]
        return runs[:RUNS]

    def _read(self, region: Region) -> Program | None:
        """The program in a region; lines all indented, as in Markdown lists, move to the margin first."""
        text = region.text if MARGIN.search(region.text) else textwrap.dedent(region.text)
        return read_program(text, self._task.entry_point, self._parser, self._open_end(region))

    def _open_end(self, region: Region) -> bool:
        """Whether the reply may have been cut off in this region."""
        return not region.closed or (not region.fenced and region is self._regions[-1])

    def _supplied(self, program: Program, held: list[tuple[Region, Program]]) -> str:
        """The program, preceded by other fenced blocks that define what it lacks."""
        given = {node.name for node in parse(self._task.prompt).body if isinstance(node, ast.FunctionDef)}
        text = program.text
        for region, other in reversed(held):
            if other is not program and region.fenced and not other.defines:
                lacking = missing_names(program.nodes) - given
                if lacking & {name for node in other.nodes for name in names_defined(node)}:
                    text = other.text + "\n\n\n" + text
        return text

    def _body(self) -> tuple[str, str] | None:
        """A body in a fence or between prose; failing that, definitions that leave the entry point a stub."""
        for region in [r for fenced in (True, False) for r in reversed(self._regions) if r.fenced is fenced]:
            body = read_body(region.text, self._indent, self._parser)
            if body is not None:
                return body, "body"
        for run in self._indented_runs():
            body = read_body(run.text, self._indent, self._parser)
            if body is not None:
                return body, "body between prose"
        for region in reversed(self._regions):
            program = self._read(region)
            if program is not None:
                return behind_stub(program.text), f"{self._task.entry_point} is not defined"
        return None

    def _with_helpers(self, body: str, text: str) -> str:
        """The body, followed by definitions below it that it uses."""
        rest = read_program(text, self._task.entry_point, self._parser, open_end=True)
        if rest is None or rest.defines:
            return body
        lacking = missing_names(parse(self._task.prompt + body).body)
        return f"{body}\n\n{rest.text}\n" if any(names_defined(node) & lacking for node in rest.nodes) else body


def names_defined(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case _:
            return set()


def note(region: Region, program: Program) -> str:
    where = "fence" if region.fenced else "whole reply"
    if program.broken:
        return f"{where}, as it is"
    return where if program.complete and region.closed else f"{where}, truncated"


def starts_a_definition(text: str) -> bool:
    """Whether the first line of code is at the margin and begins a program of its own."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first.startswith(("def ", "async def ", "class ", "import ", "from ", "@"))


def body_indent(prompt: str) -> int:
    """The depth at which the prompt's function goes on."""
    lines = [line for line in prompt.split("\n") if line.strip()]
    return (indent_of(lines[-1]) if lines else 0) or 4


def broken_code(text: str, task: Task) -> str | None:
    """What was meant as code but does not parse: a fenced block, or text with the entry point's definition."""
    found = regions(text[:READ_CHARS])
    meant = [r.text for r in found if r.fenced or f"def {task.entry_point}" in r.text]
    return meant[-1] if meant else next((r.text for r in found if BODY_LINE.match(r.text)), None)


def behind_stub(program: str) -> str:
    """A whole program as a completion: the prompt before it ends in a docstring and stands as a stub.

    `from __future__` would no longer come first; what it asks for is not needed to run.
    """
    return "\n" + FUTURE_IMPORT.sub("", program)


def normal_ends(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def checked(completion: str, task: Task, note: str) -> Candidate:
    """The candidate, after parsing prompt and completion together."""
    if len(completion) > CHECK_CHARS:
        return Candidate(completion, note=f"{note}, too long to be checked")
    try:
        parse(task.prompt + completion)
    except SyntaxError as error:
        return Candidate(completion, describe(error), Outcome.BAD_SYNTAX, note)
    return Candidate(completion, note=note)


def formatted(found: Candidate, task: Task, use_black: bool) -> Candidate:
    """The candidate in black's style where that leaves the program's meaning as it is; else the candidate itself."""
    if not use_black or found.outcome is not None or len(found.completion) > CHECK_CHARS:
        return found
    import black

    head = STAND_IN if found.completion.lstrip("\n").startswith((" ", "\t")) else ""  # what a body stands under
    try:
        styled = black.format_file_contents(head + found.completion, fast=True, mode=black.Mode())
        completion = "\n" * (not head) + styled.removeprefix(head)
        same = ast.dump(parse(task.prompt + completion)) == ast.dump(parse(task.prompt + found.completion))
    except Exception:  # noqa: BLE001 (a guest: whatever it raises on strange code, the code stays as it was)
        return found
    return Candidate(completion, note=f"{found.note}, black") if same else found
