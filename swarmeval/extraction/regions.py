"""The parts of a model's reply: fenced and tagged blocks and the text between. Parses no Python."""

import re
from dataclasses import dataclass, field

from swarmeval.extraction.thoughts import STRING

# A fence opens a line, after list or quote marks perhaps, or ends a line of prose; after it at most a tag.
FENCE = re.compile(r"^(?P<before>.*?)(?P<marks>(?<!`)`{3,}+|(?<!~)~{3,}+)(?P<tag>[^`~]*)$")
LIST_MARKS = re.compile(r"[ \t>*+-]*(?:\d+[.)][ \t]*)?")
CODE_AS_TAG = re.compile(r"(?:[\w+#.-]+[ \t]+)?(?P<code>(?:async def|def|class|import|from)[ \t]+\w.*|@\w.*|\w+ = .*)")
# Tags count where a line begins with them, or with a few words and a colon: code has them in strings, too.
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
    """One stretch of a reply."""

    text: str
    fenced: bool = False
    closed: bool = True  # false: the reply ended inside the fence or tag
    tagged: bool = False  # it stands between tags such as <answer>


def regions(text: str) -> list[Region]:
    """Fenced and tagged blocks and the text between, in order. A new tagged fence ends an open one."""
    reader = RegionReader()
    for line in text.split("\n"):
        reader.take(line)
    reader.close(closed=False)
    return reader.regions


@dataclass(slots=True)
class RegionReader:
    """Reads a reply line by line."""

    regions: list[Region] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _marks: str = ""  # of the open fence
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
                self._lines.append(match["before"])  # the fence closed behind the last line of code
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
        code = CODE_AS_TAG.match(match["tag"].strip())
        self._lines += [code["code"]] if code else []

    def _ends(self, match: re.Match[str]) -> bool:
        """Whether a line with fence marks closes the open fence. In a comment they are part of it."""
        same = match["marks"].startswith(self._marks) and not match["tag"].strip()
        return same and not match["before"].lstrip().startswith("#")

    def _take_text(self, line: str) -> None:
        """A line outside fences, which may end what a tag began."""
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
        """End the block that is open, or the text between two."""
        fenced, tagged = bool(self._marks), bool(self._endings)
        if any(line.strip() for line in self._lines):
            self.regions.append(Region("\n".join(self._lines), fenced, closed or not (fenced or tagged), tagged))
        self._lines.clear()
        self._marks, self._endings = "", ()


def ends_at(line: str, ending: str) -> int:
    """Where an ending stands in a line of code, outside its strings and comments; len(line) where it does not.

    A comment may end with it: then it ends the block, too.
    """
    spans = [text.span() for text in LINE_TEXT.finditer(line)] if '"' in line or "'" in line or "#" in line else []
    place = line.find(ending)
    while place >= 0:
        if not any(start <= place < end for start, end in spans) or not line[place + len(ending) :].strip():
            return place
        place = line.find(ending, place + 1)
    return len(line)


def opens(match: re.Match[str], in_block: bool) -> bool:
    """Whether a line with fence marks begins a block: alone on its line, or behind prose with a one-word tag."""
    if LIST_MARKS.fullmatch(match["before"]) is not None:
        return not in_block or bool(match["tag"].strip())
    return not in_block and "```" not in match["before"] and len(match["tag"].split()) <= 1


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
