"""Finds the whole program in a reply to a task that asks for one, in any language."""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace

from swarmeval.extraction.languages import LANGUAGES
from swarmeval.extraction.programs import missing_names, read_program
from swarmeval.extraction.regions import Region, regions
from swarmeval.extraction.syntax import CODE_LINE, BudgetedParser, parse
from swarmeval.extraction.text_fixes import normal_ends, unescaped, visible
from swarmeval.extraction.thoughts import without_thoughts
from swarmeval.extraction.windows import READ_CHARS
from swarmeval.records import Task

PYTHON_TAGS = frozenset({"python", "python3", "py", "pypy", "pypy3"})
PARTS = 2  # of READ_CHARS each: the part of a long reply that is read, its end
# What a program that reads its input contains, in any language.
READS = re.compile(
    r"\binput\s*\(|\bstdin\b|\bopen\(0|\bmain\b|read_?line|\bread\b|scanf|\bcin\b|STDIN|\bgets\b|io\.read|readFileSync|"
    r"Scanner|BufferedReader|bufio|/dev/stdin|<>"
)
LINE_END = re.compile(r"[;{})][ \t]*$", re.MULTILINE)


def whole_program(text: str, task: Task) -> tuple[str, str] | None:
    """(program, how it was found), or None if the reply contains no code. A Python program need not parse.

    The last block that parses, is not cut off, and reads input is the program. If code follows it in the task, it
    defines a name that this code uses, or the entry point, instead, and its usage is left out.
    """
    wanted = names_used(task.ending) | {task.entry_point} if task.ending else frozenset[str]()
    found = found_program(text, task.language, wanted)
    if found is None or not wanted:
        return found
    program = read_program(found[0], task.entry_point, BudgetedParser(), open_end=False)
    return (program.text, found[1]) if program is not None and not program.broken else found


def names_used(ending: str) -> frozenset[str]:
    """Names that code uses and does not bind, and names of globals that it looks up."""
    tree = parse(ending)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(missing_names(tree.body) | {text for text in strings if text.isidentifier()})


def found_program(text: str, language: str, wanted: frozenset[str]) -> tuple[str, str] | None:
    reply = normal_ends(text)
    answer = without_thoughts(reply)
    for part in [answer] if answer == reply else [answer, reply]:  # thoughts only if nothing else contains code
        shown = visible(part[-PARTS * READ_CHARS :])
        blocks = [replace(region, text=unescaped(region.text)) for region in regions(shown)]
        found = chosen(blocks, language, wanted)
        if found is not None:
            return found
    return None


def chosen(blocks: Sequence[Region], language: str, wanted: frozenset[str]) -> tuple[str, str] | None:
    tags = PYTHON_TAGS if language == "python" else LANGUAGES[language].tags
    parser = BudgetedParser()
    marked = [block for block in blocks if block.fenced or block.tagged]
    ours = [block for block in marked if block.language in tags]
    plain = [block for block in marked if not block.language and looks_like_code(block.text, language)]
    names = "|".join(map(re.escape, sorted(wanted)))
    defines = re.compile(rf"\b(?:class|def)[ \t]+(?:{names})\b|^(?:{names})[ \t]*=", re.MULTILINE) if wanted else READS

    def rank(block: Region) -> tuple[bool, bool, bool]:
        parses = language != "python" or parses_whole(block.text, parser)
        return parses, block.closed, defines.search(block.text) is not None

    for group in (ours, plain):
        if group:
            best = max(reversed(group[-8:]), key=rank)
            return best.text + "\n", "fence" if best.closed else "fence, truncated"
    for block in blocks:
        if block not in marked and (code := from_code(block.text, language, parser)):
            return code + "\n", "whole reply"
    return (marked[-1].text + "\n", "fence") if marked else None


def looks_like_code(text: str, language: str) -> bool:
    """Whether a block without a language holds code, not input or output."""
    if language == "python":
        return any(map(starts_code, text.split("\n")))
    return LINE_END.search(text) is not None or READS.search(text) is not None


def starts_code(line: str) -> bool:
    """Whether a line is probably Python."""
    return CODE_LINE.match(line) is not None or line.startswith(("class ", "@", "async def ", "print("))


def parses_whole(text: str, parser: BudgetedParser) -> bool:
    try:
        parser.parse(text)
    except SyntaxError:
        return False
    return True


def from_code(text: str, language: str, parser: BudgetedParser) -> str:
    """The code of an unfenced text, without prose before it and, in Python, after it; "" if there is none."""
    lines = text.split("\n")
    if language != "python":
        facts = LANGUAGES[language]
        heads = (n for n, line in enumerate(lines) if facts.imports.match(line) or facts.definition.match(line[:600]))
        start = next(heads, None)
        return "" if start is None or len(LINE_END.findall(text)) < 2 else "\n".join(lines[start:])
    start = next((n for n, line in enumerate(lines) if starts_code(line)), None)
    if start is None:
        return ""
    length, _ = parser.prefix(lines[start:])
    return "\n".join(lines[start : start + length] if length else lines[start:])
