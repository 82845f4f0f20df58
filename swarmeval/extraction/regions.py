"""Splits a model's reply into fenced blocks, tagged blocks and the text between them. Does not parse Python."""

import re
from dataclasses import dataclass, field

from swarmeval.extraction.thoughts import STRING

# A fence starts a line, possibly after list or quote marks, or ends a line of prose. At most a tag follows it.
FENCE = re.compile(r"^(?P<before>.*?)(?P<marks>(?<!`)`{3,}+|(?<!~)~{3,}+)(?P<tag>[^`~]*)$")
LIST_MARKS = re.compile(r"[ \t>*+-]*(?:\d+[.)][ \t]*)?")
CODE_AS_TAG = re.compile(r"(?:[\w+#.-]+[ \t]+)?(?P<code>(?:async def|def|class|import|from)[ \t]+\w.*|@\w.*|\w+ = .*)")
# Tags count only at the start of a line, or after a few words and a colon, because strings in code may contain them.
NAMES = r"final_answer|answer|code|solution|python|implementation|result|response|output|pre|script"
CAPITALS = r"PYTHON|ANSWER|CODE|SOLUTION|BEGIN"
OPENING = re.compile(
    rf"(?:[^<\[`\"'#:]{{0,80}}:)?[ \t]*"
    rf"(?:<(?P<name>(?i:{NAMES}))(?:[ \t][^<>]{{0,80}})?>|\[(?P<capitals>{CAPITALS})\]){{1,3}}"
)
CLOSING_LINE = re.compile(rf"[ \t]*(?:</(?i:{NAMES})>|\[/(?:{CAPITALS})\]|\[(?:DONE|END)\])[ \t]*$")
LINE_TEXT = re.compile(rf"{STRING}|#.*")


@dataclass(frozen=True, slots=True)
class Region:
    """One part of a reply."""

    text: str
    fenced: bool = False
    closed: bool = True  # False if the reply ended inside the fence or tag
    tagged: bool = False  # between tags such as <answer>
    language: str = ""  # of a fence, in lower case


def regions(text: str) -> list[Region]:
    """Split a reply into its regions, in order. A fence with a tag closes an open fence."""
    reader = RegionReader()
    for line in text.split("\n"):
        reader.take(line)
    reader.close(closed=False)
    return reader.regions


@dataclass(slots=True)
class RegionReader:
    """Collects the regions of a reply, line by line."""

    regions: list[Region] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _marks: str = ""  # of the open fence
    _language: str = ""
    _endings: tuple[str, ...] = ()  # of the open tag

    def take(self, line: str) -> None:
        opening = None if self._marks or self._endings else OPENING.match(line)
        if opening is not None:
            self.close()
            name = opening["name"] or opening["capitals"]
            self._endings = (f"</{name}>",) if opening["name"] else (f"[/{name}]", "[DONE]", "[END]")
            line = line[opening.end() :]
        match = FENCE.match(line) if "```" in line or "~~~" in line else None
        if match is not None and self._marks and self._ends(match):
            if LIST_MARKS.fullmatch(match["before"]) is None:
                self._lines.append(match["before"])  # the fence closes at the end of the last code line
            self.close()
        elif match is not None and opens(match, bool(self._marks)):
            self._open(match)
        elif self._marks:
            self._lines.append(line)
        else:
            self._take_text(line)

    def _open(self, match: re.Match[str]) -> None:
        if not self._marks:
            self._lines.append(LIST_MARKS.sub("", match["before"], count=1))
        self.close()
        self._marks = match["marks"]
        tag = match["tag"].strip()
        code = CODE_AS_TAG.match(tag)
        self._language = tag.split()[0].lower() if tag else ""
        self._lines += [code["code"]] if code else []

    def _ends(self, match: re.Match[str]) -> bool:
        """Whether a line with fence marks closes the open fence. Marks in a comment do not."""
        same = match["marks"].startswith(self._marks) and not match["tag"].strip()
        return same and not match["before"].lstrip().startswith("#")

    def _take_text(self, line: str) -> None:
        """Add a line outside fences, which may contain a closing tag."""
        place, ending = min(((ends_at(line, end), end) for end in self._endings if end in line), default=(-1, ""))
        if 0 <= place < len(line):
            self._lines.append(line[:place])
            self.close()
            line = line[place + len(ending) :]
        elif CLOSING_LINE.match(line):
            self.close()
            return
        self._lines.append(line)

    def close(self, closed: bool = True) -> None:
        """End the current block, or the text between two blocks."""
        fenced, tagged = bool(self._marks), bool(self._endings)
        if any(line.strip() for line in self._lines):
            whole = closed or not (fenced or tagged)
            self.regions.append(Region("\n".join(self._lines), fenced, whole, tagged, self._language))
        self._lines.clear()
        self._marks, self._language, self._endings = "", "", ()


def ends_at(line: str, ending: str) -> int:
    """Position of a closing tag in a line of code, outside strings and comments; len(line) if there is none.

    A tag at the end of a comment counts as well.
    """
    spans = [text.span() for text in LINE_TEXT.finditer(line)] if '"' in line or "'" in line or "#" in line else []
    place = line.find(ending)
    while place >= 0:
        if not any(start <= place < end for start, end in spans) or not line[place + len(ending) :].strip():
            return place
        place = line.find(ending, place + 1)
    return len(line)


def opens(match: re.Match[str], in_block: bool) -> bool:
    """Whether fence marks open a block: alone on their line, or after prose with a one-word tag."""
    if LIST_MARKS.fullmatch(match["before"]) is not None:
        return not in_block or bool(match["tag"].strip())
    return not in_block and "```" not in match["before"] and len(match["tag"].split()) <= 1


def outermost(text: str) -> Region | None:
    """The text between the first and the last fence line, for code whose docstrings contain fences."""
    lines = text.split("\n")
    fences = [index for index, line in enumerate(lines) if line.lstrip().startswith(("```", "~~~"))]
    if len(fences) < 3:
        return None
    return Region("\n".join(lines[fences[0] + 1 : fences[-1]]), fenced=True)


def indented_runs(text: str) -> list[str]:
    """The runs of indented lines that follow a blank line, including blank lines within them."""
    runs: list[list[str]] = []
    in_run, blank = False, True
    for line in text.split("\n"):
        indented = line.startswith((" ", "\t")) and bool(line.strip())
        if indented and (in_run or blank):
            if not in_run:
                runs.append([])
            in_run = True
        elif line.strip():
            in_run = False
        if in_run:
            runs[-1].append(line)
        blank = not line.strip()
    return ["\n".join(run) for run in runs]
