"""`python main.py report DIR`: a run on one page, report.html in its folder."""

import argparse
from pathlib import Path

from commands.summary import say
from watch.report import write


def report(options: argparse.Namespace) -> int:
    """Make the page and say where it is; gives 0. Raises DataError or OutputError where there is no run to tell of."""
    page = write(Path(options.folder))
    say(f"{page}  ({page.stat().st_size / 1e6:.2f} MB)")
    return 0
