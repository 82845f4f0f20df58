"""Turns a reply in a language other than Python into the whole program before the tests of its task.

Selects the part of the reply with the answer: a continuation of the prompt, the last fenced block that defines the
entry point, or a body in a fence. Whether the program compiles is seen in the sandbox.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace

from swarmeval.extraction.joining import Frame
from swarmeval.extraction.regions import Region, regions
from swarmeval.extraction.text_fixes import normal_ends, unescaped, visible
from swarmeval.extraction.thoughts import without_thoughts
from swarmeval.extraction.windows import windows
from swarmeval.records import Candidate, Form, Outcome, Task

CODE = re.compile(r"[;{})\]][ \t]*$|^[ \t]*(?:return|end|fi|done)\b|[\w\])][ \t]*(?:=|<-|\+=|:=)[ \t]*\S")


def program(text: str, form: Form, task: Task) -> Candidate:
    """The program before the tests: a solution as it is, the prompt and a completion, or the code of a reply."""
    if form == "solution":
        return Candidate(normal_ends(text), note="whole program")
    if form == "completion":
        return Candidate(task.prompt + before_stops(text, task.stops or ()), note="as given")
    reply = normal_ends(text)
    answer = without_thoughts(reply)
    frame = Frame(task)
    for part in [answer] if answer == reply else [answer, reply]:  # thoughts only if nothing else contains code
        found = search(part, frame)
        if found is not None:
            return found
    return Candidate("", "no code in the reply", Outcome.EMPTY)


def before_stops(text: str, stops: Iterable[str]) -> str:
    """The text up to the first stop, as MultiPL-E cuts completions."""
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def search(text: str, frame: Frame) -> Candidate | None:
    """Search a text of any length: its beginning for a continuation of the prompt, then its end, then the rest."""
    head, *later = [
        [replace(region, text=unescaped(region.text)) for region in regions(visible(part))]
        for part in windows(text, rf"\b{re.escape(frame.name)}\s*(?:=|<-|\()")
    ]
    if head and not head[0].fenced and continues(head[0].text, frame):
        return frame.continued(head[0].text, "continuation")
    parts = [*later, head]
    return next((found for blocks in parts if (found := definition(blocks, frame))), None) or next(
        (found for blocks in parts if (found := body(blocks, frame))), None
    )


def continues(text: str, frame: Frame) -> bool:
    """Whether an unfenced text starts inside the function."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first.startswith((" ", "\t")) and not frame.defined_by(first.strip())


def definition(blocks: Sequence[Region], frame: Frame) -> Candidate | None:
    """The program around the last definition of the entry point, preferably in a fence of the task's language."""
    marked = [block for block in blocks if block.fenced or block.tagged]
    ours = [block for block in marked if block.language in frame.language.tags]
    for group in (ours, [block for block in marked if block not in ours]):
        found = frame.whole([textwrap.dedent(block.text) for block in group], "fence")
        if found is not None:
            return found
    prose = [from_code(block.text, frame) for block in blocks if block not in marked]
    return frame.whole(prose, "whole reply")


def from_code(text: str, frame: Frame) -> str:
    """An unfenced text from its first line of code, because apostrophes in prose would count as open strings."""
    lines = text.split("\n")
    start = next((number for number, line in enumerate(lines) if frame.starts_answer(line.strip())), len(lines))
    return textwrap.dedent("\n".join(lines[start:]))


def body(blocks: Sequence[Region], frame: Frame) -> Candidate | None:
    """The program of a fenced body, or of a reply that is code and continues the prompt without indentation."""
    ours = [block for block in blocks if block.fenced and block.language in frame.language.tags]
    plain = [block for block in blocks if block.tagged or (block.fenced and not block.language)]
    for group in (ours, plain):
        if group:
            return frame.continued(group[-1].text, "body")
    if len(blocks) == 1 and CODE.search(blocks[0].text.strip().partition("\n")[0]):
        return frame.continued(blocks[0].text, "continuation")
    return None
