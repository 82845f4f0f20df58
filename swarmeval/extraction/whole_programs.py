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
DEFINED = re.compile(r"^(?:async[ \t]+def|def|class)[ \t]+(\w+)", re.MULTILINE)  # in Python
CLASS_HEAD = re.compile(r"\bclass[ \t]+\w+[ \t]*(?:\([^()\n]*\))?:[ \t]*$")  # at the end of a line of prose
METHOD_HEAD = re.compile(r"[ \t]+(?:async[ \t]+)?def\b")
CALLED = re.compile(r"\b(\w+)[ \t]*\(")
MOST_BLOCKS = 8  # of the end of a reply, that are compared
READ_LINE = 600


def whole_program(text: str, task: Task) -> tuple[str, str] | None:
    """(program, how it was found), or None if the reply contains no code. A Python program need not parse.

    The last block that parses, is not cut off, and reads input is the program. If code follows it in the task, it
    defines a name that this code uses, or the entry point, instead, and its usage is left out. A block that only calls
    what another one defines is not the program.
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

    def rank(block: Region, answers: Sequence[Region]) -> tuple[bool, bool, bool, bool]:
        parses = language != "python" or parses_whole(block.text, parser)
        return not only_uses(block, answers, language), parses, block.closed, block in answers

    for group in (ours, plain):
        if group:
            last = [replace(block, text=outdented(block.text, language)) for block in group[-MOST_BLOCKS:]]
            answers = [block for block in last if defines.search(block.text)]
            best = max(reversed(last), key=lambda block: rank(block, answers))
            return best.text + "\n", "fence" if best.closed else "fence, truncated"
    for block in blocks:
        if block not in marked and (code := from_code(block.text, language, parser)):
            return code + "\n", "whole reply"
    return (marked[-1].text + "\n", "fence") if marked else None


def only_uses(block: Region, answers: Sequence[Region], language: str) -> bool:
    """Whether a block calls a function or type that only an answer in another block defines."""
    others = {name for answer in answers if answer is not block for name in defined_names(answer.text, language)}
    return not (others - defined_names(block.text, language)).isdisjoint(CALLED.findall(block.text))


def defined_names(text: str, language: str) -> set[str]:
    """Names that the lines of a program define, in languages other than Python also by assignment."""
    if language == "python":
        return set(DEFINED.findall(text))
    facts = LANGUAGES[language]
    patterns = [pattern for pattern in (facts.definition, facts.assignment) if pattern is not None]
    found = (pattern.match(line[:READ_LINE]) for line in text.split("\n") for pattern in patterns)
    return {name for match in found if match is not None for name in match.groups() if name}


def outdented(text: str, language: str) -> str:
    """Python code without the indentation of its first line, which may be that of all lines or a stray space."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    margin = first[: len(first) - len(first.lstrip(" \t"))]
    if language != "python" or not margin:
        return text
    end = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith(margin)), len(lines))
    if end < len(lines) and starts_code(lines[end]):
        end = lines.index(first) + 1
    return "\n".join([line.removeprefix(margin) for line in lines[:end]] + lines[end:])


def looks_like_code(text: str, language: str) -> bool:
    """Whether a block without a language holds code, not input or output."""
    if language == "python":
        return any(map(starts_code, text.split("\n")))
    return LINE_END.search(text) is not None or READS.search(text) is not None


def starts_code(line: str) -> bool:
    """Whether a line is probably Python."""
    return CODE_LINE.match(line) is not None or line.lstrip(" \t").startswith(("class ", "@", "async def ", "print("))


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
        heads = (
            n for n, line in enumerate(lines) if facts.imports.match(line) or facts.definition.match(line[:READ_LINE])
        )
        start = next(heads, None)
        return "" if start is None or len(LINE_END.findall(text)) < 2 else "\n".join(lines[start:])
    start = next((n for n, line in enumerate(lines) if starts_code(line)), None)
    if start is None:
        return ""
    above = next((line for line in reversed(lines[:start]) if line.strip()), "")
    head = CLASS_HEAD.search(above) if METHOD_HEAD.match(lines[start]) else None
    code = outdented("\n".join([*([head.group()] if head else []), *lines[start:]]), language).split("\n")
    length, _ = parser.prefix(code)
    return "\n".join(code[:length] if length else code)
