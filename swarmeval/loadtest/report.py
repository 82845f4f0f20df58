"""Writes load.json and load_report.html from the files of a load run.

This module only collects the parts: load_report.html.j2 has the layout, load_charts.js draws the charts, and pages.py
joins everything into one file.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from swarmeval.files import replaced
from swarmeval.loadtest import facts
from swarmeval.loadtest import report_tables as tables
from swarmeval.loadtest import report_words as words
from swarmeval.loadtest.law import NAME as LAW
from swarmeval.loadtest.law import law
from swarmeval.loadtest.report_data import chart_data
from swarmeval.loadtest.request_rows import read
from swarmeval.report.pages import FOLDER as RUN_REPORT
from swarmeval.report.pages import render_page
from swarmeval.version import VERSION

NAME = "load_report.html"
FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "load_report.html.j2"
STYLES = (RUN_REPORT / "report.css", FOLDER / "load_report.css")
SCRIPTS = (RUN_REPORT / "report.js", RUN_REPORT / "charts.js", FOLDER / "load_charts.js")
FLAMES = "flame_*.html"  # separate files that the report links to


def write(folder: Path) -> Path:
    """Write load.json and the report of the load run in this folder; return the report's path.

    Raises DataError if the folder holds no load run, OutputError if a file cannot be read or written.
    """
    rows = list(read(folder))
    stats = law(rows, facts.read(folder))
    with replaced(folder / LAW) as file:
        json.dump(stats, file, indent=2, allow_nan=False)
        file.write("\n")
    levels = [
        {
            "name": level["name"], "times": tables.times(level), "laws": tables.laws(level),
            "lines": tables.lines(level), "differ": tables.differ(level), "undefined": tables.undefined(level),
        }
        for level in stats["levels"]
    ]  # fmt: skip
    context = {
        "title": stats["title"], "run_id": stats["run_id"], "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "version": VERSION, "what_ran": words.what_ran(stats), "headline": words.headline(stats),
        "limits": words.limits(stats), "curve": words.curve(stats), "levels": levels, "costs": words.costs(stats),
        "percentiles": tables.PERCENTILES, "families": tables.FAMILIES, "errors": stats["errors"],
        "outliers": words.outliers(stats), "no_outliers": words.no_outliers(stats),
        "outliers_in_all": stats["outliers_in_all"],
        "file_outliers": words.file_outliers(stats), "worth": words.worth(stats), "memory": words.memory(stats),
        "settings": words.settings(stats), "energy_source": stats["energy_source"],
        "flames": sorted(path.name for path in folder.glob(FLAMES)),
    }  # fmt: skip
    page = render_page(TEMPLATE, STYLES, SCRIPTS, context, chart_data(stats, rows))
    with replaced(folder / NAME) as file:
        file.write(page)
    return folder / NAME
