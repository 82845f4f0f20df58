"""load.json and load_report.html: the latency law of a load run, as numbers and on one page, made from its files.

What stands here gathers; load_report.html.j2 lays out, load_charts.js draws, pages.py makes one file of it.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from bench.files import replaced
from bench.version import VERSION
from serving import load_facts
from serving.law import NAME as LAW
from serving.law import law
from serving.rows import read
from watch import load_tables as tables
from watch import load_words as words
from watch.load_data import drawn
from watch.pages import filled

NAME = "load_report.html"
STYLES = ("report.css", "load_report.css")
SCRIPTS = ("report.js", "charts.js", "load_charts.js")
FLAMES = "flame_*.html"  # files of their own; linked to


def write(folder: Path) -> Path:
    """Make both files of the load run in this folder; gives the page's path.

    Raises DataError where there is no such run, and OutputError where its files cannot be read or these not written.
    """
    rows = list(read(folder))
    found = law(rows, load_facts.read(folder))
    with replaced(folder / LAW) as file:
        json.dump(found, file, indent=2, allow_nan=False)
        file.write("\n")
    levels = [
        {
            "name": level["name"], "times": tables.times(level), "laws": tables.laws(level),
            "lines": tables.lines(level), "differ": tables.differ(level), "undefined": tables.undefined(level),
        }
        for level in found["levels"]
    ]  # fmt: skip
    context = {
        "title": found["title"], "run_id": found["run_id"], "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "version": VERSION, "what_ran": words.what_ran(found), "headline": words.headline(found),
        "limits": words.limits(found), "curve": words.curve(found), "levels": levels, "costs": words.costs(found),
        "percentiles": tables.PERCENTILES, "families": tables.FAMILIES, "errors": found["errors"],
        "outliers": words.outliers(found), "outliers_in_all": found["outliers_in_all"],
        "file_outliers": words.file_outliers(found), "worth": words.worth(found), "memory": words.memory(found),
        "settings": words.settings(found), "energy_source": found["energy_source"],
        "flames": sorted(path.name for path in folder.glob(FLAMES)),
    }  # fmt: skip
    page = filled("load_report.html.j2", STYLES, SCRIPTS, context, drawn(found, rows))
    with replaced(folder / NAME) as file:
        file.write(page)
    return folder / NAME
