"""Patterns for end-of-text and end-of-turn tokens, which appear in replies if a server does not remove them."""

import re
from collections.abc import Callable
from functools import cache

# Marks that cannot occur in Python source outside strings and comments.
BARS = (
    r"<[|｜][^<>|｜\n]{1,80}[|｜]>|<[|｜][\w▁:/.-]{1,60}>|<[\w▁:/.-]{1,60}[|｜]>|\[\|[^\[\]|\n]{1,60}\|\]|"
    r"<[|｜][\w▁]{0,60}[|｜]?\Z"  # a mark that was cut off
)
CLOSING = r"</(?:s|turn|message|response|assistant|user|system|model|human|bot)>|\[/(?:INST|SYS|ASST)\]|<</SYS>>"
TILDES = r"\[e~\[|\]~!?b[\[\]]"
# Marks that could be a Python comparison or index: `a <eos> b`, `table[EOS]`.
NAME = (
    r"[be]os(?:_token)?|pad|unk|sep|cls|mask|e[ot][tmpdahr](?:_id|_token)?|sop|end|turn|endoftext|"
    r"(?:end|start|begin)_?of_?\w{2,20}|(?:file|end|im)_(?:sep|end|start)|fim_\w{2,10}|jupyter_\w{2,20}|repo_?name|gh_stars|"
    r"filename|empty_output|commit_\w{2,10}|issue_\w{2,10}|extra_id_\d{1,4}|reserved_\w{1,20}|unused_?\w{0,10}\d{1,4}|"
    r"special_\d{1,4}|seed:[be]os|s|user|assistant|system|human|bot|mid|suf"
)
ANGLES = rf"<(?:(?P<angle>{NAME})|\[[\w▁]{{2,60}}\])>"
BRACKETS = r"\[(?P<bracket>[BE]O[STMPDR]|END_OF_\w{2,20}|PAD|SEP|CLS|INST|g?MASK|UNUSED_TOKEN_\d{1,4})\]|<<SYS>>"
END_MARK = rf"(?P<end>{BARS}|{CLOSING}|{TILDES})|(?P<named>(?i:{ANGLES})|{BRACKETS})"

UNNAMED = ANGLES.replace("?P<angle>", "?:")
LINE_ENDS = re.compile(rf"[ \t]*+(?:(?:(?i:{UNNAMED})|{BARS}|{CLOSING})[ \t]*+){{0,4}}(?:$|[`~])", re.MULTILINE)
PLAIN_WORD = re.compile(r"(?<![<\[\w])\w+(?![\w>\]])")


def named_marks(text: str) -> Callable[[re.Match[str]], bool]:
    """Return a predicate: whether a named match of END_MARK is a mark in this text, not code that uses the name."""

    @cache
    def words() -> frozenset[str]:
        return frozenset(PLAIN_WORD.findall(text))

    def is_mark(match: re.Match[str]) -> bool:
        if match["bracket"] is None:
            start, end = match.span()
            if not text[text.rfind("\n", 0, start) + 1 : start].strip() or LINE_ENDS.match(text, end):
                return True
        return (match["bracket"] or match["angle"] or "") not in words()

    return is_mark
