"""`python main.py report DIR`: a run on one page, report.html in its folder, and its trace.json where it was traced.

A load run leaves load_report.html instead, or beside it where the folder holds both.
"""

import argparse
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.loadtest.request_rows import NAME as REQUESTS
from swarmeval.monitor.tracing.export import make
from swarmeval.report.run_report import write
from swarmeval.runs.journal import NAME as JOURNAL


def report(options: argparse.Namespace) -> int:
    """Make the pages and say where they are; gives 0. Raises DataError or OutputError where there is no run."""
    folder = Path(options.folder)
    made = [_load_page(folder)] if (folder / REQUESTS).exists() else []
    trace = make(folder)  # the page links to it; the session of a run that was killed is not in it yet
    if not made or (folder / JOURNAL).exists():
        made += [write(folder), *([trace] if trace else [])]
    for path in made:
        say(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    return 0


def _load_page(folder: Path) -> Path:
    from swarmeval.loadtest.report import write  # brings scipy and statsmodels along

    return write(folder)
