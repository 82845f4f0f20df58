"""`python main.py report DIR`: writes report.html to a run's folder, and trace.json if the run was traced.

For a load run it writes load_report.html, and both reports if the folder holds both kinds of run.
"""

import argparse
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.loadtest.request_rows import NAME as REQUESTS
from swarmeval.monitor.tracing.export import make
from swarmeval.report.run_report import write
from swarmeval.runs.journal import NAME as JOURNAL


def report(options: argparse.Namespace) -> int:
    """Write the reports and print their paths; return 0. Raises DataError or OutputError."""
    folder = Path(options.folder)
    made = [_load_page(folder)] if (folder / REQUESTS).exists() else []
    trace = make(folder)  # the report links to it; a killed session is not in it yet
    if not made or (folder / JOURNAL).exists():
        made += [write(folder), *([trace] if trace else [])]
    for path in made:
        say(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    return 0


def _load_page(folder: Path) -> Path:
    from swarmeval.loadtest.report import write  # imports scipy and statsmodels

    return write(folder)
