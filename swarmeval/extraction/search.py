"""Searches the regions of a reply for code, trying the possible forms of an answer from best to worst.

Adds at most one line to the reply's code: an alias that binds the entry point to a method of that name or, with
`any_name`, to the only function. A prompt that ends in a bare signature is completed with `pass`.
"""

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarmeval.extraction.definitions import DEFINITIONS, is_bare, is_stub, is_test
from swarmeval.extraction.function_bodies import Body, depth_end, read_body
from swarmeval.extraction.future_imports import without_future_imports
from swarmeval.extraction.names import names
from swarmeval.extraction.programs import ExtractedProgram, missing_names, read_program
from swarmeval.extraction.regions import Region, indented_runs
from swarmeval.extraction.syntax import BudgetedParser, body_indent, parse, stub_end
from swarmeval.records import Task

RUNS = 20  # limit on indented runs in prose
MARGIN = re.compile(r"^\S", re.MULTILINE)
COMPLETE = 2  # lowest rank of a program that contains a complete answer
ONLY_SIGNATURE = "only a signature and a docstring in the reply"


@dataclass(frozen=True, slots=True)
class Extraction:
    """A completion, how it was found, and whether it is certain enough to stop searching."""

    completion: str
    note: str
    sure: bool


class Search:
    """Searches the regions of one reply. `extra` regions are used if the others contain no complete program."""

    def __init__(
        self,
        regions: Sequence[Region],
        extra: Sequence[Region],
        task: Task,
        parser: BudgetedParser,
        any_name: bool,
        begins: bool = True,
    ) -> None:
        """`begins`: whether the first region is the start of the reply, which may continue the prompt."""
        self._task = task
        self._begins = begins
        self._regions = regions
        self._parser = parser
        self._any_name = any_name
        self._indent = body_indent(task.prompt)
        functions = prompt_functions(task)
        self._prompt_functions = {node.name for node in functions}
        self._prompt_definitions = {node.name for node in functions if not is_stub(node)}
        self._runs = [Region(run) for region in regions if not region.fenced for run in indented_runs(region.text)][
            :RUNS
        ]
        self._extra = [*self._runs, *extra]
        self._programs: list[tuple[Region, ExtractedProgram]] = []
        self._bodies: dict[str, Body | None] = {}

    def best(self) -> Extraction | None:
        """The best answer. If the prompt has no stub, only a whole program qualifies."""
        bodies = self._task.entry_point in self._prompt_functions
        return (
            ((self._continuation() if bodies else self._base_and_more()) if self._begins else None)
            or self._program()
            or (self._body() if bodies else None)
            or self._other()
        )

    def _continuation(self) -> Extraction | None:
        """A reply that continues the prompt directly. The text after the body is ignored, except for helpers."""
        if not self._regions or self._regions[0].fenced or starts_a_definition(self._regions[0].text):
            return None
        first = self._regions[0].text
        body = self._read_body(first)
        return None if body is None else body_extraction(body, "continuation", self._with_helpers(body.text, first))

    def _base_and_more(self) -> Extraction | None:
        """A reply that completes the prompt's function and then defines the entry point."""
        if not self._prompt_functions or not self._regions or self._regions[0].fenced:
            return None
        first = self._regions[0].text
        body = self._begun(first)
        if body is None:
            return None
        more = read_program(first, self._task.entry_point, self._parser, open_end=True)
        if more is None or not more.defines:
            return None
        how = "continuation" if more.complete else "continuation, truncated"
        text = without_future_imports(more.text, self._task.prompt)
        return Extraction(f"{body}\n\n{text}\n", how, sure=True)

    def _begun(self, text: str) -> str | None:
        """The indented lines at the start of a text, unchanged if they parse after the prompt."""
        lines = text.split("\n")
        start = next((number for number, line in enumerate(lines) if line.strip()), 0)
        if not lines[start].startswith((" ", "\t")):
            return None
        asis = "\n".join(lines[start : start + depth_end(lines[start:])])
        try:
            self._parser.parse(self._task.prompt + asis)
        except SyntaxError:
            body = self._read_body(text)
            return body.text if body else None
        return asis

    def _program(self) -> Extraction | None:
        """The last complete definition, preferably in a fence or tag; otherwise a truncated one.

        A function takes precedence over a method of the same name, because a class may use the name differently.
        """
        self._programs = self._read_all(self._regions)
        if not any(program.complete for _, program in self._programs):
            self._programs += self._read_all(self._extra)
        if not self._programs:
            return None
        region, program = max(reversed(self._programs), key=self._rank)
        if not program.defines:
            return None
        alias = f"\n\n\n{program.alias}\n" if program.alias else ""
        sure = self._rank((region, program)) >= COMPLETE
        return Extraction(behind_stub(self._supplied(program) + alias, self._task.prompt), note(region, program), sure)

    def _rank(self, scored: tuple[Region, ExtractedProgram]) -> int:
        """Rank of a program: COMPLETE or more for a complete answer, 1 for a broken or truncated one, 0 for none."""
        region, program = scored
        if not program.complete or any(program.shortens(other) for _, other in self._programs if other is not program):
            return int(program.defines)
        return COMPLETE + 2 * (not program.alias) + (region.fenced or region.tagged)

    def _read_all(self, regions: Sequence[Region]) -> list[tuple[Region, ExtractedProgram]]:
        """The programs in reply order. Reads the last ones first, because they matter most if the budget runs out."""
        read = [(region, self._read(region)) for region in reversed(regions)]
        return [(region, program) for region, program in reversed(read) if program is not None]

    def _read(self, region: Region) -> ExtractedProgram | None:
        """The program in a region. If all lines are indented, as in Markdown lists, they are dedented first."""
        text = region.text if MARGIN.search(region.text) else textwrap.dedent(region.text)
        return read_program(text, self._task.entry_point, self._parser, self._open_end(region))

    def _open_end(self, region: Region) -> bool:
        """Whether the reply may have been cut off in this region."""
        return not region.closed or (not region.fenced and region is self._regions[-1])

    def _supplied(self, program: ExtractedProgram) -> str:
        """The program, preceded by other fenced or tagged blocks that define its missing names."""
        text = program.text
        if len(self._programs) == 1:
            return text
        lacking = missing_names(program.nodes) - self._prompt_definitions
        for region, other in reversed(self._programs):
            if other is program or (other.defines and not other.complete) or not (region.fenced or region.tagged):
                continue
            if any(names(node).bound & lacking for node in other.nodes):
                text = other.text + "\n\n\n" + text
                lacking |= missing_names(other.nodes) - self._prompt_definitions
        return text

    def _body(self) -> Extraction | None:
        """A function body in a fence or tag, last one first, or between prose."""
        regions = sorted(self._regions, key=lambda region: region.fenced or region.tagged)[::-1]
        for region in [*regions, *self._runs]:
            body = self._read_body(region.text)
            if body is not None:
                how = "body" if region in regions else "body between prose"
                extraction = body_extraction(body, how, self._with_helpers(body.text, region.text))
                whole = any(f"def {self._task.entry_point}(" in r.text for r in self._regions)  # one that did not parse
                return replace(extraction, sure=extraction.sure and not whole)
        return None

    def _other(self) -> Extraction | None:
        """Definitions without a complete entry point; with `any_name`, the only function takes its place."""
        programs = [program for _, program in self._programs if program.broken or holds_definitions(program)]
        if not programs:
            return None
        text = programs[-1].text
        defined = [node for program in programs for node in program.nodes if isinstance(node, DEFINITIONS)]
        written = [node for node in defined if node.name not in self._prompt_definitions]
        if written and all(map(is_bare, written)) and not any(program.broken for program in programs):
            return Extraction("", ONLY_SIGNATURE, sure=False)
        tests_too = self._task.entry_point.lower().startswith("test")
        functions = {
            node.name
            for node in defined
            if isinstance(node, ast.FunctionDef)
            if not (is_stub(node) or (is_test(node, "") and not tests_too) or node.name in self._prompt_functions)
        }
        if self._any_name and len(functions) == 1:
            name = functions.pop()
            text = next(program.text for program in reversed(programs) if defines_function(program, name))
            completion = behind_stub(f"{text}\n\n\n{self._task.entry_point} = {name}\n", self._task.prompt)
            return Extraction(completion, f"{name} taken for {self._task.entry_point}", sure=False)
        return Extraction(behind_stub(text, self._task.prompt), f"{self._task.entry_point} is not defined", sure=False)

    def _read_body(self, text: str) -> Body | None:
        if text not in self._bodies:
            self._bodies[text] = read_body(text, self._indent, self._parser.part(self._parser.left_chars // 3))
        return self._bodies[text]

    def _with_helpers(self, body: str, text: str) -> str:
        """The body, followed by the definitions below it that it needs."""
        try:
            lacking = missing_names(self._parser.parse(self._task.prompt + body).body) | {self._task.entry_point}
        except SyntaxError:
            return body
        rest = read_program(text, self._task.entry_point, self._parser, open_end=True, wanted=lacking)
        if rest is None or rest.defines or not rest.text.strip():
            return body
        return f"{body}\n\n{without_future_imports(rest.text, self._task.prompt)}\n"


def holds_definitions(program: ExtractedProgram) -> bool:
    return any(isinstance(node, DEFINITIONS) for node in program.nodes)


def defines_function(program: ExtractedProgram, name: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == name and not is_stub(node) for node in program.nodes)


def body_extraction(body: Body, how: str, completion: str) -> Extraction:
    return Extraction(completion, f"{how}, truncated" if body.cut else how, sure=not body.cut)


def note(region: Region, program: ExtractedProgram) -> str:
    where = "fence" if region.fenced else "tags" if region.tagged else "whole reply"
    if program.broken:
        return f"{where}, as it is"
    method = f", {program.alias}" if program.alias else ""
    return f"{where}{method}" if program.complete and region.closed else f"{where}{method}, truncated"


def starts_a_definition(text: str) -> bool:
    """Whether the first line starts a whole program rather than a function body."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first.startswith(("def ", "async def ", "class ", "import ", "from ", "@"))


def prompt_functions(task: Task) -> list[ast.FunctionDef]:
    """The functions that the prompt defines, including stubs."""
    try:
        tree = parse(task.prompt + stub_end(task.prompt))
    except SyntaxError:
        return []
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def behind_stub(program: str, prompt: str) -> str:
    """Turn a whole program into a completion. The prompt becomes a stub before it."""
    return f"{stub_end(prompt)}\n{without_future_imports(program, prompt)}"
