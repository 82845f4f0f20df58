"""The table of runs in GitHub's Markdown."""

from collections.abc import Sequence

from swarmeval.exports.exported_run import ExportedRun
from swarmeval.exports.score_table import table


def markdown(runs: Sequence[ExportedRun]) -> str:
    """The table, and its note if there is one."""
    headings, rows, note = table(runs)
    words = headings.index("Tasks")
    rule = ["---"] * words + ["---:"] * (len(headings) - words)
    lines = [_line(cells) for cells in ([_escaped(cell) for cell in headings], rule)]
    lines += [_line([_escaped(cell) for cell in row]) for row in rows]
    return "\n".join([*lines, *(["", _escaped(note)] if note else [])]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for character in "\\|*_`<[]&~$":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
