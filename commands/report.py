"""`python main.py report DIR`: a run on one page, report.html in its folder, and its trace.json where it was traced."""

import argparse
from pathlib import Path

from commands.summary import say
from watch.report import write
from watch.trace import make


def report(options: argparse.Namespace) -> int:
    """Make the page and say where it is; gives 0. Raises DataError or OutputError where there is no run to tell of."""
    folder = Path(options.folder)
    trace = make(folder)  # the page links to it; the session of a run that was killed is not in it yet
    page = write(folder)
    for path in (page, trace) if trace else (page,):
        say(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    return 0
