"""The table of runs in LaTeX, with the rules of the booktabs package."""

from collections.abc import Sequence

from swarmeval.exports.exported_run import ExportedRun
from swarmeval.exports.score_table import table

ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def latex(runs: Sequence[ExportedRun]) -> str:
    r"""A tabular that a paper can \input. It needs \usepackage{booktabs}."""
    headings, rows, note = table(runs)
    words = headings.index("Tasks")
    columns = "l" * words + "r" * (len(headings) - words)
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(headings),
        r"\midrule",
        *(_line(row) for row in rows),
        r"\bottomrule",
        *([rf"\multicolumn{{{len(headings)}}}{{l}}{{\footnotesize {_escaped(note)}}} \\"] if note else []),
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    text = " & ".join(map(_escaped, cells))
    start = "{}" if text.startswith(("[", "*")) else ""  # they would belong to the \\ of the line above
    return f"{start}{text} \\\\"


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(character, character) for character in " ".join(text.split()))
