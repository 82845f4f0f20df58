"""The parts of a model's reply: thoughts set aside, fenced blocks and the text between them. Parses no Python."""

import re
from dataclasses import dataclass

THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
# A fence opens a line, after list or quote marks perhaps, or ends a line of prose; after it at most a tag.
FENCE = re.compile(r"^(?P<before>.*?)(?P<marks>(?<!`)`{3,}+|(?<!~)~{3,}+)[ \t]*(?P<tag>[^`~]*)$")
LIST_MARKS = re.compile(r"[ \t>*+-]*(?:\d+[.)])?[ \t]*")
INVISIBLE = {0xFEFF: None, 0x200B: None, 0x2060: None, 0x00A0: " ", 0x202F: " "}


@dataclass(frozen=True, slots=True)
class Region:
    """One stretch of a reply."""

    text: str
    fenced: bool = False
    closed: bool = True  # false: the reply ended inside the fence


def normal_text(text: str) -> str:
    """Line ends as \\n, non-breaking spaces as spaces, byte-order marks and zero-width characters gone."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(INVISIBLE)


def without_thoughts(text: str) -> str:
    """The reply outside <think> blocks, closed or not; a closing tag alone ends a block the template began."""
    kept: list[str] = []
    start, thinking = 0, False
    for tag in THOUGHT.finditer(text):
        if tag.group(1):
            kept = kept if thinking else []
            start, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[start : tag.start()])
            thinking = True
    if not thinking:
        kept.append(text[start:])
    return "".join(kept)


def regions(text: str) -> list[Region]:
    """Fenced blocks and the text between, in order. A new tagged fence ends an open one."""
    found: list[Region] = []
    lines: list[str] = []
    marks = ""  # of the open fence

    def close(closed: bool = True) -> None:
        if any(line.strip() for line in lines):
            found.append(Region("\n".join(lines), bool(marks), closed or not marks))
        lines.clear()

    for line in text.split("\n"):
        match = FENCE.match(line) if "```" in line or "~~~" in line else None
        if match is not None and marks and match["marks"].startswith(marks) and not match["tag"].strip():
            if match["before"].strip():
                lines.append(match["before"])  # the fence closed behind the last line of code
            close()
            marks = ""
        elif match is not None and opens(match, bool(marks)):
            if not marks:
                lines.append(LIST_MARKS.sub("", match["before"], count=1))
            close()
            marks = match["marks"]
        else:
            lines.append(line)
    close(closed=False)
    return found


def opens(match: re.Match[str], inside: bool) -> bool:
    """Whether a line with fence marks begins a block: alone on its line, or behind prose with a one-word tag."""
    if LIST_MARKS.fullmatch(match["before"]) is not None:
        return not inside or bool(match["tag"].strip())
    return not inside and "```" not in match["before"] and len(match["tag"].split()) <= 1


def outermost(text: str) -> Region | None:
    """All between the first fence line and the last one: for code whose docstrings hold fences themselves."""
    lines = text.split("\n")
    fences = [index for index, line in enumerate(lines) if line.lstrip().startswith(("```", "~~~"))]
    if len(fences) < 3:
        return None
    return Region("\n".join(lines[fences[0] + 1 : fences[-1]]), fenced=True)


def indented_runs(text: str) -> list[str]:
    """Indented lines that follow a blank one, with the blank lines among them."""
    runs: list[list[str]] = []
    inside, blank = False, True
    for line in text.split("\n"):
        indented = line.startswith((" ", "\t")) and bool(line.strip())
        if indented and (inside or blank):
            if not inside:
                runs.append([])
            inside = True
        elif line.strip():
            inside = False
        if inside:
            runs[-1].append(line)
        blank = not line.strip()
    return ["\n".join(run) for run in runs]
