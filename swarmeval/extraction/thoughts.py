"""Removes a model's reasoning from its reply. Knows the markers of all model families, including harmony's channels.

A marker in a string or comment of code, or in quotes or backticks, is ordinary text. Does not parse Python.
"""

import re

WORDS = (
    r"think(?:ing)?(?:_\w{1,12})?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|chain_of_thought|"
    r"inner_(?:thoughts?|monologue|voice)"
)
CODE = r"(?:def|class|from|import|async)[ ]|@\w|```|[ ]{4}|\n"
# Each alternative opens a thought, or closes it if one of its groups matched.
MARK = rf"""
    <[|｜]?(?P<slash>/?)(?:\w{{1,12}}:)?(?:{WORDS})(?:[ \t][^<>\n]{{0,80}})?[|｜]?>  # <think>, <seed:think>, <|/think|>
  | \[(?P<caps>/?)(?:THINK|THINKING|THOUGHTS?|REASONING)\]
  | [◁◀](?P<angle>/?)think[▷▶]
  | <[|｜](?:begin|start|(?P<before>end))[_▁](?:of[_▁])?(?:{WORDS})[|｜]>  # <|end_of_thought|>, <|END_THINKING|>
  | <[|｜](?:{WORDS})[_▁](?:begin|start|(?P<behind>end))[|｜]>
  | <\|inner_(?:prefix|(?P<suffix>suffix))\|>
  | <unused9(?:4|(?P<unused>5))>
  | <\|channel>(?:thought|analysis) | (?P<channel><channel\|>)
  | <\|channel\|>[ ]?(?:(?P<final>final)|\w{{1,20}})[^<>\n]{{0,80}}(?:<\|constrain\|>[^<>\n]{{0,40}})?<\|message\|>
  | (?P<glued>assistantfinal | \Afinal(?={CODE}))                                  # harmony without its special tokens
  | (?P<response>\[BEGIN\ FINAL\ RESPONSE\])
  | \AHere(?:'s|\ is)\ my\ (?:thought\ process|reasoning\ steps?): | (?P<said>^Here(?:'s|\ is)\ my\ response:)
"""
QUOTES = "[\"'`]"
# A marker directly next to a fence counts, unlike a word in backticks.
THOUGHT = rf"(?:(?<=```)|(?<!{QUOTES}))(?:{MARK})(?:(?=```)|(?!{QUOTES}))"
# Closed strings, and comments. Apostrophes and headings in prose must not match.
STRING = r"""(?<![\w"'`\\])[rbfuRBFU]{0,2}(?:"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')"""
LONG_STRING = r'"""(?:(?!```|^</)[\s\S])*?"""|\'\'\'(?:(?!```|^</)[\s\S])*?\'\'\''
COMMENT = r"[ \t][ \t]\#[^\n]*|[ \t]\#[ \t][^\n]*|^\#(?!\#)[^\n]*\n(?=[ \t]*[^\s`~])"
FLAGS = re.IGNORECASE | re.MULTILINE | re.VERBOSE
MARKS = re.compile(THOUGHT, FLAGS)
MARKS_AND_TEXT = re.compile(rf"(?P<text>{LONG_STRING}|{STRING}|{COMMENT})|{THOUGHT}", FLAGS)
CLOSING = frozenset(MARKS.groupindex)


def without_thoughts(text: str) -> str:
    """The reply without its thoughts. A closing marker alone ends a thought that the template opened."""
    if MARKS.search(text) is None:
        return text
    kept: list[str] = []
    start, thinking = 0, False
    for mark in MARKS_AND_TEXT.finditer(text):
        if mark["text"] is not None or (mark["said"] and not thinking):
            continue
        if any(mark[group] for group in CLOSING):
            kept = kept if thinking and not mark["final"] else []
            start, thinking = mark.end(), False
        elif not thinking:
            kept.append(text[start : mark.start()])
            thinking = True
    if not thinking:
        kept.append(text[start:])
    return "".join(kept)
