"""Answers of runs as CSV: a line of headings, one row per answer, empty cells for None."""

import csv
from collections.abc import Sequence
from typing import TextIO

from swarmeval.exports.answer_rows import COLUMNS, rows
from swarmeval.exports.exported_run import ExportedRun


def write(runs: Sequence[ExportedRun], file: TextIO) -> None:
    """Write the rows. Texts that hold commas, quotes or newlines are quoted."""
    table = csv.DictWriter(file, COLUMNS)
    table.writeheader()
    for run in runs:
        table.writerows(rows(run))
