"""Joins the statements of an answer in another language with its prompt, so that the task's tests can follow.

Keeps imports, the entry point, what it needs, and other code above it. Leaves out usage, tests written by the model,
and statements that bind names of the task's tests.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmeval.extraction.languages import LANGUAGES
from swarmeval.extraction.units import Unit, block_end, closes_more, masked, statement_head, units
from swarmeval.records import Candidate, Task

# Statements that talk to a user or a test runner, which an answer does not need.
TALKS = re.compile(
    r"\b(?:print\w*|puts|echo|cat|message|console|process|module|exports|describe|it|test\w*|expect|assert\w*|stopifnot|"
    r"main|exit|quit|die|gets|readline|scanf|read|STDIN|ARGV|__FILE__|__END__|__DATA__)\b"
)
STATEMENTS = frozenset({"if", "for", "while", "switch", "return", "do", "match", "loop"})  # heads that look like calls
TEST_LIBRARY = re.compile(
    r"[mM]initest|test/unit|Test::|rspec|testthat|PHPUnit|luaunit|busted|@jest|mocha|chai\b|org\.junit|gtest|node:assert"
)


@dataclass(frozen=True, slots=True)
class Code:
    """The statements of a text: functions, and what stands outside the type that holds them in Java."""

    outside: tuple[Unit, ...]
    members: tuple[Unit, ...]
    container: str = ""  # name of that type


class Frame:
    """The code that one task puts around an answer: its prompt before it, and its tests behind it."""

    def __init__(self, task: Task) -> None:
        self.name = task.entry_point
        self.language = LANGUAGES[task.language]
        suite = task.suite.text.lstrip()
        self._tests_close = suite.startswith("}")  # the tests begin with the bracket that ends the function
        self._suite_names = {name for unit in units(suite.lstrip("} \n"), self.language) for name in unit.names}
        self._suite = masked(suite, self.language)
        self._prompt = task.prompt
        self._above, self._opening, self._stub = self._prompt_parts(task.prompt)

    def _prompt_parts(self, prompt: str) -> tuple[list[Unit], str, str]:
        """(statements above the function, line that opens its type, the function's comments and signature)."""
        above = units(prompt, self.language)
        opening = ""
        if above and self.language.container and (head := self.language.container.search(above[-1].masked)):
            opening = above[-1].text[: head.end()]
            inner = units(above[-1].text[head.end() :].strip("\n"), self.language)
            above = [*above[:-1], *inner]
        if not above:
            return [], opening, prompt
        return above[:-1], opening, prompt[prompt.rindex(above[-1].text) :]

    def starts_answer(self, line: str) -> bool:
        """Whether a line starts a definition of the entry point, or an import."""
        once = self.language.once is not None and self.language.once.match(line) is not None
        return once or self.language.imports.match(line) is not None or self.defined_by(line)

    def defined_by(self, line: str) -> bool:
        """Whether a line starts a definition of the entry point."""
        bound = self.language.definition.match(line[:600])
        return bound is not None and self.name in bound.groups()

    def continued(self, text: str, note: str) -> Candidate:
        """The program of a text that continues the prompt. A fenced body may lack the end of the function."""
        if note == "body" and self._is_program(text):
            return Candidate(text, note=f"{self.name} is not defined")
        code = self._split(self._stub + text)
        entries = [unit for unit in code.members if self._is_entry(unit)]
        if not entries:
            return Candidate(self._prompt + text, note=note)
        program = self._joined(code, [], loose=note == "continuation")
        if note == "body" and not entries[-1].closed and not self._tests_close:
            program += "\nend" if "end" in self.language.closes else "\n}"
        return Candidate(program, note=note)

    def _is_program(self, text: str) -> bool:
        """Whether a text consists of definitions and their usage. A function body has other statements or its end."""
        own = self._split(text)
        found = [unit for unit in (*own.outside, *own.members) if not unit.imports]
        if not found or not found[0].defines or closes_more(masked(text, self.language), self.language):
            return False
        others = [unit for unit in found if not unit.defines or not unit.names.isdisjoint(STATEMENTS)]
        return all(self.language.assignment and TALKS.search(unit.masked) for unit in others)

    def whole(self, blocks: Iterable[str], note: str) -> Candidate | None:
        """The program of the last block that defines the entry point completely, with what it needs of the others."""
        split = [self._split(block) for block in blocks]
        defining = [code for code in split if any(map(self._is_entry, code.members))]
        if not defining:
            return None
        closed = [code for code in defining if all(unit.closed for unit in code.members if self._is_entry(unit))]
        others = [code for code in split if code not in defining]
        program = self._joined((closed or defining)[-1], others, loose=note != "fence")
        return Candidate(program, note=note if closed else f"{note}, truncated")

    def _is_entry(self, unit: Unit) -> bool:
        """Whether a statement defines the entry point. In languages of declarations, a prototype does not."""
        declared_only = self.language.assignment is None and "{" not in unit.masked
        return unit.defines and self.name in unit.names and not declared_only

    def _split(self, text: str) -> Code:
        """The statements of a text. In Java, those inside the type that holds the entry point are its members."""
        outer = units(self._without_repeated(text), self.language)
        if self.language.container is None:
            return Code((), tuple(outer))
        for unit in reversed(outer):
            head = self.language.container.match(statement_head(unit.masked, self.language))
            if head is not None:
                start = unit.masked.index("{") + 1
                end = block_end(unit.masked, self.language)
                members = tuple(units(unit.text[start : end - 1 if unit.closed else end].strip("\n"), self.language))
                if any(map(self._is_entry, members)):
                    return Code(tuple(other for other in outer if other is not unit), members, head[1])
        types = re.compile(r"(?:\w+\s+)*(?:class|interface|enum|record)\b")
        outside = [u for u in outer if u.imports or types.match(statement_head(u.masked, self.language))]
        return Code(tuple(outside), tuple(unit for unit in outer if unit not in outside))

    def _without_repeated(self, text: str) -> str:
        """The text without what a program may hold only once, such as a package clause."""
        if self.language.once is None:
            return text
        places = [match.span() for match in self.language.once.finditer(masked(text, self.language))]
        pieces = [
            text[end:start] for (_, end), (start, _) in zip([(0, 0), *places], [*places, (len(text), 0)], strict=True)
        ]
        return "".join(pieces)

    def _joined(self, code: Code, others: Sequence[Code], loose: bool) -> str:
        """The prompt's statements, those of the answer and, last if the tests close it, the entry point."""
        kept = self._kept(code, others, loose)
        outside = {id(unit) for one in (code, *others) for unit in one.outside}
        bound = {name for unit in kept for name in unit.names}
        above = [unit for unit in self._above if not unit.names or not unit.names <= bound]
        squeezed = {squeeze(unit.text) for unit in above}
        kept = [unit for unit in kept if not (unit.imports and squeeze(unit.text) in squeezed)]
        entry = [unit for unit in kept if self._is_entry(unit)][-1]
        lines = [unit.text for unit in above]
        if self.language.import_path is not None:
            lines += self._missing_imports(kept)
            kept = [unit for unit in kept if not unit.imports]
        lines += [unit.text for unit in kept if id(unit) in outside]
        lines += [self._opening] if self._opening else []
        members = [unit for unit in kept if id(unit) not in outside]
        if self._tests_close:
            members = [unit for unit in members if unit is not entry]
        inner = [unit.text for unit in members]
        if self._tests_close:
            end = block_end(entry.masked, self.language)
            inner.append(entry.text[: end - 1].rstrip() if entry.closed else entry.text)
        if code.container and self._opening:
            inner = [self._renamed(text, code.container) for text in inner]
        return "\n".join([*lines, *inner])

    def _renamed(self, text: str, container: str) -> str:
        """Text of a type of another name, as text of the prompt's type."""
        head = self.language.container.search(self._opening) if self.language.container else None
        return re.sub(rf"\b{container}\b", head[1], text) if head else text

    def _kept(self, code: Code, others: Sequence[Code], loose: bool) -> list[Unit]:
        """The statements of the answer in order, those of other blocks first. `loose`: prose may be among them."""
        own = [*code.outside, *code.members]
        foreign = [unit for other in others for unit in (*other.outside, *other.members)]
        entries = [unit for unit in own if self._is_entry(unit)]
        first = own.index(entries[0])
        needed = needed_names(entries, [*foreign, *own])
        result = [unit for unit in foreign if unit.imports or unit.names & needed]
        spare = []
        for place, unit in enumerate(own):
            if unit in entries or unit.imports or (unit.names & needed and (unit.defines or not self._is_usage(unit))):
                result.append(unit)
            elif not loose and self._stays(unit, before=place < first):
                result.append(unit)
                spare.append(unit)
        kept = [unit for unit in result if self._may_stay(unit)]
        return without_orphans(kept, spare, own)

    def _stays(self, unit: Unit, before: bool) -> bool:
        """Whether a statement that the entry point does not need is kept."""
        if "main" in unit.names or (
            self.name in unit.words and not (self.language.assignment is None and self.name in unit.names)
        ):
            return False
        if unit.defines or self.language.assignment is None:
            return True
        return before and not self._is_usage(unit)

    def _is_usage(self, unit: Unit) -> bool:
        return self.name in unit.words or TALKS.search(unit.masked) is not None

    def _may_stay(self, unit: Unit) -> bool:
        """Whether the tests allow a statement: they bind none of its names, and it loads no library for tests."""
        if self.name in unit.names:
            return True
        return not unit.names & self._suite_names and not (unit.imports and TEST_LIBRARY.search(unit.text))

    def _missing_imports(self, kept: Sequence[Unit]) -> list[str]:
        """One line per import that the answer uses and the prompt lacks."""
        pattern = self.language.import_path
        assert pattern is not None
        have = {match[2] for unit in self._above for match in pattern.finditer(unit.text)}
        code = "\n".join(unit.masked for unit in kept if not unit.imports)
        result = []
        for unit in kept:
            for match in pattern.finditer(unit.text) if unit.imports else ():
                alias, path = (match[1] or "").strip(), match[2]
                name = alias or re.sub(r"/v\d+$", "", path).rpartition("/")[2]
                if path not in have and (name in (".", "_") or re.search(rf"\b{re.escape(name)}\.", code)):
                    have.add(path)
                    result.append(f'import {alias} "{path}"' if alias else f'import "{path}"')
        return result


def needed_names(entries: Sequence[Unit], all_units: Sequence[Unit]) -> set[str]:
    """The names that the entry point uses, directly or through other statements."""
    binding: dict[str, list[Unit]] = {}
    for unit in all_units:
        for name in unit.names:
            binding.setdefault(name, []).append(unit)
    waiting, seen, needed = list(entries), {id(unit) for unit in entries}, set[str]()
    while waiting:
        for name in waiting.pop().words & binding.keys():
            needed.add(name)
            for unit in binding[name]:
                if id(unit) not in seen:
                    seen.add(id(unit))
                    waiting.append(unit)
    return needed - {name for unit in entries for name in unit.names}


def without_orphans(kept: list[Unit], spare: Sequence[Unit], all_units: Sequence[Unit]) -> list[Unit]:
    """The kept statements without spare ones that use a name which only statements left out bind."""
    while True:
        lost = {name for unit in all_units for name in unit.names} - {name for unit in kept for name in unit.names}
        orphans = [unit for unit in kept if unit in spare and unit.words & lost]
        if not orphans:
            return kept
        kept = [unit for unit in kept if unit not in orphans]


def squeeze(text: str) -> str:
    return "".join(text.split())
