"""Compares the output of an executed program with the expected output, outside the jail.

The output is untrusted text of up to many megabytes. Every rule takes linear time, and memory for a few copies of it.
Imports only the standard library. The "checker" rule runs a task's own program and is not handled here.
"""

import re
from collections.abc import Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DecimalException
from itertools import zip_longest

TOKEN = re.compile(r"\S+")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?|nan", re.ASCII | re.IGNORECASE)
NUMBER_CHARS = 1000  # longer tokens are compared as text
ARITHMETIC = Context(prec=40, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
SHOWN_CHARS = 60  # of each text in a line of evidence
BEFORE_CHARS = 20  # shown before the first difference of long texts

Place = tuple[int, int]  # start and end of a token or line in a text


def difference(rule: str, tolerance: float, expected: str, output: str) -> str:
    """One printable line on the first difference; "" if the output is accepted.

    "exact" compares all characters, except that one final newline may be missing or added. "tokens" compares the
    words between white space. "numbers" does too, but accepts a number within `tolerance` of the expected one, as an
    absolute or as a relative error. "livecodebench" compares stripped lines, as text or as exact decimal numbers.
    """
    if expected == output:
        return ""
    match rule:
        case "exact":
            return _exact(expected.removesuffix("\n"), output.removesuffix("\n"))
        case "tokens":
            return _tokens(expected, output, 0.0, numbers=False)
        case "numbers":
            return _tokens(expected, output, tolerance, numbers=True)
        case "livecodebench":
            return _stripped_lines(expected.strip(), output.strip())
    raise ValueError(f"no comparison has the rule {rule!r}")


def _exact(expected: str, output: str) -> str:
    if expected == output:
        return ""
    at = _common(expected, output)
    start = output.rfind("\n", 0, at) + 1  # of the line; both texts are equal so far
    return _evidence(expected, (start, _line_end(expected, at)), output, (start, _line_end(output, at)))


def _tokens(expected: str, output: str, tolerance: float, numbers: bool) -> str:
    for wanted, found in zip_longest(_places(expected), _places(output)):
        if wanted is None or found is None:
            return _evidence(expected, wanted, output, found)
        one, other = expected[slice(*wanted)], output[slice(*found)]
        if one != other and not (numbers and _near(one, other, tolerance)):
            return _evidence(expected, wanted, output, found)
    return ""


def _near(expected: str, found: str, tolerance: float) -> bool:
    """Whether two tokens are numbers within the tolerance. NaN matches only NaN, an infinity only itself."""
    if max(len(expected), len(found)) > NUMBER_CHARS or not (NUMBER.fullmatch(expected) and NUMBER.fullmatch(found)):
        return False
    try:
        one, other = Decimal(expected), Decimal(found)
    except DecimalException:  # an exponent beyond all limits
        return False
    if one == other or (one.is_nan() and other.is_nan()):
        return True
    if not (one.is_finite() and other.is_finite()):
        return False
    error = ARITHMETIC.abs(ARITHMETIC.subtract(one, other))
    allowed = ARITHMETIC.multiply(Decimal(tolerance), max(Decimal(1), ARITHMETIC.abs(one)))
    return error.is_finite() and error <= allowed


def _stripped_lines(expected: str, output: str) -> str:
    """Apply LiveCodeBench's rules (lcb_runner/evaluation/testing_util.py, grade_stdio) to stripped texts."""
    lines, found_lines = expected.count("\n") + 1, output.count("\n") + 1
    if lines != found_lines:
        return f"expected {lines:,} lines, found {found_lines:,}"
    for wanted, found in zip(_lines(expected), _lines(output), strict=True):
        one, other = expected[slice(*wanted)].strip(), output[slice(*found)].strip()
        if one != other and not _equal_decimals(one, other):
            return _evidence(expected, wanted, output, found)
    return ""


def _equal_decimals(expected: str, found: str) -> bool:
    """Whether two lines hold the same numbers. Decimal also reads "1_000" and "Infinity", as in the published rules."""
    for wanted, place in zip_longest(_places(expected), _places(found)):
        if wanted is None or place is None:
            return False
        try:
            if Decimal(expected[slice(*wanted)]) != Decimal(found[slice(*place)]):
                return False
        except DecimalException:
            return False
    return True


def _places(text: str) -> Iterator[Place]:
    return (match.span() for match in TOKEN.finditer(text))


def _lines(text: str) -> Iterator[Place]:
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield start, end
        start = end + 1
    yield start, len(text)


def _line_end(text: str, start: int) -> int:
    """The end of a line, with its newline: a missing one may be the difference."""
    return text.find("\n", start) + 1 or len(text)


def _common(one: str, other: str) -> int:
    """Length of the common start. Halves the range, because a loop over the characters would take seconds."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _evidence(expected: str, wanted: Place | None, output: str, found: Place | None) -> str:
    """The line that tells two places apart. None is the end of a text."""
    line = output.count("\n", 0, found[0] if found is not None else len(output.rstrip())) + 1
    one, other = ("" if place is None else text[slice(*place)] for text, place in ((expected, wanted), (output, found)))
    start = _common(one, other)
    start = 0 if start < SHOWN_CHARS // 2 else start - BEFORE_CHARS
    left = "the end of the output" if wanted is None else _shown(one, start)
    right = "the end of the output" if found is None else _shown(other, start)
    return f"line {line:,}: expected {left}, found {right}"


def _shown(text: str, start: int) -> str:
    shown = repr(text[start : start + SHOWN_CHARS])[: 2 * SHOWN_CHARS]
    return f"{'...' if start else ''}{shown}{'...' if len(text) > start + SHOWN_CHARS else ''}"
