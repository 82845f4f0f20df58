"""Selects the parts of a long reply to search: its beginning, its end, and the last definition between them."""

import re

READ_CHARS = 20_000  # size of each part, larger than any function
FENCE_LINE = re.compile(r"^[ \t>*+-]*(?:```+|~~~+)(?P<tag>[^\n`~]*)$", re.MULTILINE)


def windows(text: str, head: str) -> list[str]:
    """The parts to search: the beginning, then the others from the end. A short text is one part.

    `head` is a pattern for the start of a definition.
    """
    if len(text) <= READ_CHARS:
        return [text]
    tail = len(text) - READ_CHARS
    starts = [tail]
    heads = [match.start() for match in re.finditer(head, text)]
    before = [place for place in heads if READ_CHARS // 2 < place < tail]
    if before:
        starts.append(max(0, before[-1] - READ_CHARS // 2))
    return [text[:READ_CHARS], *(window(text, start) for start in starts)]


def window(text: str, start: int) -> str:
    """The part that starts at the next line. If it starts inside a fence, the fence is opened again."""
    start = text.find("\n", start, start + READ_CHARS) + 1 or start
    part = text[start : start + READ_CHARS]
    return "```\n" + part if inside_fence(text, start) else part


def inside_fence(text: str, end: int) -> bool:
    """Whether a fence is open at a position. A fence with a tag opens a block; one without toggles."""
    inside = False
    for fence in FENCE_LINE.finditer(text, 0, end):
        inside = not inside or bool(fence["tag"].strip())
    return inside
