"""The live terminal dashboard: python metrics_dashboard.py [--interval S] [--run DIR] [--once].

Reads only the run folder, so any number of viewers can watch a run without affecting it. The panels are in
swarmeval/dashboard.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from swarmeval.watch.follow import Follower
from swarmeval.watch.progress import is_dumb

LEAST_S, MOST_S = 0.1, 3600.0
YIELDS = 10  # nice value, so that drawing does not slow the run


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the run until q or Ctrl-C. Returns 2 without a terminal, or with --once if there is no run."""
    options = make_parser().parse_args(arguments)
    folder = Path(options.run)
    if options.once:
        return _print_once(folder)
    if is_dumb() or not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        print("the dashboard needs a terminal; use --once to print one plain page", file=sys.stderr)
        return 2
    return _watch(folder, options.interval, options.beside)


def _print_once(folder: Path) -> int:
    from rich.console import Console

    from swarmeval.dashboard.format import plain
    from swarmeval.dashboard.page import page
    from swarmeval.dashboard.view import look

    view = look(Follower(folder), whole=True)
    now = view.snapshot
    if now.status is None and now.state != "starting":
        why = now.trouble[0] if now.trouble else f"{folder}: contains no run; start one, or give its folder with --run"
        print(plain(why), file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # some encodings lack the line and dash characters
    console = Console(highlight=False)
    try:
        console.print(page(view, console.width), overflow="ellipsis", no_wrap=True, crop=False)
        console.file.flush()
    except OSError as error:
        print(f"the page cannot be printed ({error.strerror})", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # discard the buffered output
        return 2
    return 0


def _watch(folder: Path, interval_s: float, run_pid: int | None) -> int:
    if run_pid is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run in this terminal gets it too
    os.nice(YIELDS)
    if not os.isatty(2):
        os.dup2(1, 2)  # Textual draws on stderr
    from swarmeval.dashboard.app import Dashboard

    app = Dashboard(folder, interval_s, run_pid)
    app.run()
    return app.return_code or 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not LEAST_S <= seconds <= MOST_S:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of seconds from {LEAST_S:g} to {MOST_S:g}")
    return seconds


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="metrics_dashboard.py", description="Watch a run; press q to quit.", allow_abbrev=False)
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds between frames (1.0)")
    parser.add_argument("--run", default="logs", metavar="DIR", help="folder of the run (logs)")
    parser.add_argument("--once", action="store_true", help="print one plain page and exit")
    parser.add_argument("--beside", type=int, help=argparse.SUPPRESS)  # PID of the run that shares this terminal
    return parser


if __name__ == "__main__":
    sys.exit(main())
