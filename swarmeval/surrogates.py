"""Replaces lone surrogates: halves of a UTF-16 pair, which are not valid text and cannot be saved as UTF-8.

JSON can contain them (`"\\ud83d"`), and a reply that was cut within an emoji ends with one.
"""

import re
from typing import Any

REPLACEMENT = "\ufffd"
PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
LONE = re.compile("[\ud800-\udfff]")


def without_lone(text: str) -> tuple[str, int]:
    """(text with U+FFFD for every lone surrogate, their number). A pair of halves becomes one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
        return LONE.subn(REPLACEMENT, joined)
    return text, 0


def data_without_lone(value: Any) -> tuple[Any, int]:
    """Like without_lone, for all texts in plain data, including keys. Raises RecursionError."""
    if isinstance(value, str):
        return without_lone(value)
    if isinstance(value, list):
        pairs = [data_without_lone(inner) for inner in value]
        return [inner for inner, _ in pairs], sum(count for _, count in pairs)
    if isinstance(value, dict):
        items, count = data_without_lone([part for item in value.items() for part in item])
        return dict(zip(items[::2], items[1::2], strict=True)), count
    return value, 0


def note(count: int) -> str:
    """The note on a text in which `count` surrogates were replaced; "" for 0."""
    if not count:
        return ""
    return f"{count} lone surrogate{'s' if count > 1 else ''} became U+FFFD"
