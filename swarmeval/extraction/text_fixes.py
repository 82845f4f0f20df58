"""Repairs damage to code in replies: line prefixes, typographic characters, HTML escapes, tabs.

Changes that cannot alter valid Python outside strings are always applied (`visible`, `unescaped`). Ambiguous ones are
applied only if the reply contains no program otherwise (`with_text_fixes`). Does not parse Python.
"""

import html
import re
import textwrap
from collections.abc import Callable, Iterable

from swarmeval.extraction.end_marks import END_MARK, named_marks
from swarmeval.extraction.syntax import expand_tabs, inside_flags

# Strings and comments. An unclosed string extends to the end of its line, so that no character is scanned twice.
LITERAL = r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\\n])*+"?|\'(?:\\.|[^\'\\\n])*+\'?|#[^\n]*'
SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
# Zero-width characters, including bidi controls.
NOTHING = "\ufeff\u00ad\u034f\u061c\u115f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f"
LINE_END = "\u0085\u2028\u2029"
UNSEEN = re.compile(
    rf"(?P<literal>{LITERAL})|(?P<space>[{SPACES}])|(?P<nothing>[{NOTHING}])|(?P<line>[{LINE_END}])|{END_MARK}"
)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ANSI_OUTSIDE = re.compile(rf"(?P<literal>{LITERAL})|{ANSI.pattern}")
ENTITY_OUTSIDE = re.compile(rf"&(?:lt|gt|amp|quot|apos|nbsp|#0?39|#x27|#34|#96);|(?P<literal>{LITERAL})")
TYPOGRAPHIC = str.maketrans("“”„«»‘’‚′，：；（）［］−–", '"""""\'\'\'\'' + ",:;()[]--")
TYPOGRAPHIC_OUTSIDE = re.compile(rf"(?P<literal>{LITERAL})|[{''.join(map(chr, TYPOGRAPHIC))}]")

QUOTED = re.compile(r"^>(?!>>) ?(?P<code>.*)")
PROMPT = re.compile(r"[ \t]*(?:>>>|\.\.\.:?|In ?\[\d+\]:)(?: (?P<code>.*))?$")
PROMPTED_CODE = re.compile(r"[ \t]*(?:>>>|In ?\[\d+\]:) (?:async |def |class |@|from |import |\w+ = lambda)")
NUMBERED = re.compile(r"^[ \t]*(?P<number>\d{1,6})(?:[ \t]?[|│:.)])?(?P<code>[ \t].*)?$")
CHANGED = re.compile(r"[-+ @\\]|diff |index ")


def normal_ends(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def visible(text: str) -> str:
    """Outside strings and comments, normalize spaces, remove zero-width characters, and turn end marks into newlines.

    If terminal colour codes occur outside strings, they come from a terminal and are removed everywhere.
    """
    if stands_outside(ANSI_OUTSIDE, text):
        text = ANSI.sub("", text)
    is_mark = named_marks(text)

    def replacement(match: re.Match[str]) -> str:
        if match["named"] is not None and not is_mark(match):
            return match.group()
        return match["literal"] or ("" if match["nothing"] else " " if match["space"] else "\n")

    return UNSEEN.sub(replacement, text)


def stands_outside(pattern: re.Pattern[str], text: str) -> bool:
    """Whether the pattern matches anything outside literals."""
    return any(match["literal"] is None for match in pattern.finditer(text))


def unescaped(text: str) -> str:
    """Decode HTML entities if one occurs outside strings, which shows that the whole text was escaped."""
    return html.unescape(text) if stands_outside(ENTITY_OUTSIDE, text) else text


def with_text_fixes(text: str, entry_point: str) -> str:
    """Undo damage to code; return an undamaged text unchanged."""
    lines = text.split("\n")
    for unmarked in (without_quote_marks, without_prompts, without_numbers, without_changes):
        lines = unmarked(lines) or lines
    lines = separated_from_prose(lines, entry_point)
    plain = TYPOGRAPHIC_OUTSIDE.sub(
        lambda match: match["literal"] or match.group().translate(TYPOGRAPHIC), "\n".join(lines)
    )
    return without_tabs(plain)


def longest_run(lines: list[str], belongs: Callable[[str], object]) -> list[str]:
    """The longest run of lines that are blank or belong; empty if it has fewer than half of the lines."""
    runs: list[list[str]] = [[]]
    for line in lines:
        if line.strip() and not belongs(line):
            runs.append([])
        else:
            runs[-1].append(line)
    best = max(runs, key=written)
    return best if 2 * written(best) > written(lines) else []


def written(lines: list[str]) -> int:
    """Number of non-blank lines."""
    return sum(1 for line in lines if line.strip())


def without_quote_marks(lines: list[str]) -> list[str]:
    """Remove ">" from quoted lines, as in mail."""
    return [QUOTED.sub(r"\g<code>", line, count=1) for line in longest_run(lines, QUOTED.match)]


def without_prompts(lines: list[str]) -> list[str]:
    """Keep the input of an interpreter session, and drop its prompts and output."""
    if not any(PROMPTED_CODE.match(line) for line in lines):
        return []
    return [match["code"] or "" for line in lines if (match := PROMPT.match(line))]


def without_numbers(lines: list[str]) -> list[str]:
    """Remove consecutive line numbers."""
    previous: list[int] = []

    def counts_on(line: str) -> bool:
        match = NUMBERED.match(line)
        number = int(match["number"]) if match else -1
        follows = bool(match) and (not previous or number == previous[-1] + 1)
        previous[:] = [number] if follows else []
        return follows

    run = longest_run(lines, counts_on)
    return dedented(NUMBERED.sub(r"\g<code>", line) for line in run) if run else []


def without_changes(lines: list[str]) -> list[str]:
    """The new version of the code in a diff."""
    run = longest_run(lines, CHANGED.match)
    if not any(line.startswith("+") for line in run):
        return []
    return dedented(line[1:] for line in run if not line.strip() or (line[0] in "+ " and not line.startswith("+++")))


def dedented(lines: Iterable[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).split("\n")


def separated_from_prose(lines: list[str], entry_point: str) -> list[str]:
    """Put the entry point's definition on its own line if prose or a backtick precedes it."""
    head = f"def {entry_point}("
    result = []
    for line in lines:
        prose, definition, rest = line.partition(head)
        if definition and prose.rstrip().endswith("`"):
            result += [prose, head + rest.partition("`")[0]]
        elif definition and prose.rstrip().endswith((".", ":", "!", ",", ";", "-")):
            result += [prose, head + rest]
        else:
            result.append(line)
    return result


def without_tabs(text: str) -> str:
    """Convert indentation outside strings to spaces."""
    if "\t" not in text:
        return text
    lines = text.split("\n")
    flags = inside_flags(lines)
    return "\n".join(line if inside else expand_tabs(line) for line, inside in zip(lines, flags, strict=True))
