"""Formats numbers, histories and untrusted text for the panels. Knows nothing about runs."""

import math
import textwrap
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.text import Text

UNKNOWN = "–"
SPARKS = "▁▂▃▄▅▆▇█"
MISSING = " "
WARM_C, HOT_C = 75.0, 85.0  # GPUs throttle at 83 to 93
SHORT = {"K": 1e3, "M": 1e6, "G": 1e9}


def plain(text: str) -> str:
    """Replace every unprintable character, so that the text cannot control the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def plain_lines(text: str) -> str:
    """Like plain(), for text of several lines: keeps line ends and expands tabs."""
    return "\n".join(plain(line) for line in text.replace("\r\n", "\n").expandtabs(4).split("\n"))


def to_float(cell: object) -> float | None:
    """The number in a CSV cell or a JSON value; None if it is missing or not finite."""
    try:
        value = float(cell) if isinstance(cell, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}{unit}"


def short(value: float | None) -> str:
    """A number in at most five characters: 812, 9.3K, 12M."""
    if value is None:
        return UNKNOWN
    for letter, size in reversed(SHORT.items()):
        if abs(value) >= size:
            return f"{value / size:.1f}{letter}" if abs(value) < 10 * size else f"{value / size:.0f}{letter}"
    return f"{value:.1f}" if abs(value) < 10 and value != int(value) else f"{value:.0f}"


def seconds(value: float | None) -> str:
    """A latency: 820 ms, 1.24 s, 48 s."""
    if value is None:
        return UNKNOWN
    if value < 0.9995:
        return f"{1000 * value:.{0 if value >= 0.01 else 1}f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def percent(value: object, digits: int = 1) -> str:
    """A share (0..1) in percent."""
    return f"{100 * value:.{digits}f} %" if isinstance(value, int | float) else UNKNOWN


def gigabytes(used: float | None, total: float | None) -> str:
    """Two amounts in MB as "39.2/79.6 GB"; the total is left out if unknown."""
    if used is None:
        return UNKNOWN
    return f"{used / 1024:.1f} GB" if total is None else f"{used / 1024:.1f}/{total / 1024:.1f} GB"


def spark(values: Sequence[float | None], width: int, most: float | None = None) -> str:
    """The last `width` values as block characters, scaled to `most` or the largest; unknown values are blank."""
    shown = values[-width:] if width > 0 else ()
    top = most or max((value for value in shown if value is not None), default=0.0) or 1.0
    blocks = (MISSING if value is None else SPARKS[_step(value / top, len(SPARKS))] for value in shown)
    return "".join(blocks).rjust(width, MISSING)


def bar(share: float, width: int, style: str) -> Text:
    """A bar of `width` cells, filled to `share`. Readable without colour."""
    full = min(width, max(0, round(share * width)))
    return Text.assemble(("━" * full, style), ("─" * (width - full), "dim"))


def load_style(share: float | None) -> str:
    """Colour for the utilization of memory, disk or swap."""
    return "" if share is None else "red" if share >= 0.95 else "yellow" if share >= 0.85 else "green"


def heat(temperature_c: float | None) -> Text:
    """A temperature with its rating: 64° ok, 78° warm, 88° hot."""
    if temperature_c is None:
        return Text(UNKNOWN)
    word, style = ("hot", "bold red") if temperature_c >= HOT_C else ("warm", "yellow")
    if temperature_c < WARM_C:
        word, style = "ok", "green"
    return Text(f"{temperature_c:.0f}° {word}", style)


def wrap(text: str, width: int, style: str = "") -> list[Text]:
    """Wrap untrusted text to the width."""
    return [Text(line, style) for line in textwrap.wrap(plain(text), max(1, width))]


def flow(parts: Iterable[Text | str], width: int, lead: str = "") -> list[Text]:
    """Join parts with two spaces, on as many lines as needed; the first line starts with `lead`."""
    lines, line = [], Text(lead)
    for part in parts:
        piece = part if isinstance(part, Text) else Text(part)
        if line.plain.strip() and cell_len(line.plain) + 2 + cell_len(piece.plain) > width:
            lines.append(line)
            line = Text(" " * (len(lead) + 2 if lead else 0))
        if line.plain.strip():
            line.append("  ")
        line.append_text(piece)
    return [*lines, line]


def _step(share: float, steps: int) -> int:
    return min(steps - 1, max(0, int(share * steps)))
