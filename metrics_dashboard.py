"""The live terminal dashboard: python metrics_dashboard.py [--interval S] [--run DIR] [--once].

Reads a run folder and nothing else: any number of viewers may watch a run without touching it. Knows no fleet
and no model. All text that comes from files goes through _plain(): no markup, no terminal codes.
"""

import argparse
import io
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from bench.records import Status
from watch.progress import failures, hms
from watch.snapshot import Row, Snapshot, read

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

LEAST_S, MOST_S = 0.1, 3600.0
WIDE = 120  # columns from which panels stand side by side
SCORES = ("pass@1", "pass@10", "pass@100", "total", "evaluations", "failures", "partial")
UNKNOWN = "–"


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the run until q or Ctrl-C; 2 when there is nothing to show."""
    options = _parser().parse_args(arguments)
    folder = Path(options.run)
    first = read(folder)
    if first.status is None:
        why = first.trouble[0] if first.trouble else f"{folder}: holds no run; start one, or name its folder with --run"
        print(_plain(why), file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # lines and dashes where the encoding has none
    if options.once:
        return _print_once(first)
    if not sys.stdout.isatty():
        print("the dashboard needs a terminal; add --once for one plain frame", file=sys.stderr)
        return 2
    return _watch(folder, options.interval)


def _print_once(snapshot: Snapshot) -> int:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(frame(snapshot, console.width))
    return 0


def _watch(folder: Path, interval_s: float) -> int:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the terminal is given back
    try:
        with Keys() as keys, Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
            while True:
                live.update(frame(read(folder), console.width, "run (q leaves)"), refresh=True)
                if keys.wait(interval_s) in {"q", "Q"}:
                    return 0
    except KeyboardInterrupt:
        return 0


class Keys:
    """Single key presses from the terminal; nothing but the passing of time where stdin is none."""

    def __enter__(self) -> Self:
        self._fd: int | None = None
        if sys.stdin is not None and sys.stdin.isatty():
            import termios
            import tty

            self._fd = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def wait(self, seconds: float) -> str:
        """The key pressed within this time, or "". A terminal that is gone reads as q."""
        ready, _, _ = select.select([] if self._fd is None else [self._fd], [], [], seconds)
        if not ready or self._fd is None:
            return ""
        return os.read(self._fd, 1).decode(errors="replace") or "q"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


def frame(snapshot: Snapshot, width: int, title: str = "run") -> "RenderableType":
    """The whole screen: boxes in two columns where there is room, else parts under headings, for 24 lines."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.rule import Rule
    from rich.table import Table

    run, workers = _run(snapshot), _workers(snapshot.status)
    system, gpus = _system(snapshot), _gpus(snapshot)
    if width < WIDE:
        parts = ((title, run), ("workers", workers), ("system", system), ("GPUs", gpus))
        return Group(*(part for heading, body in parts for part in (Rule(heading), body)))
    below = Table.grid(expand=True)
    below.add_column(ratio=1)
    below.add_column(ratio=1)
    right = Group(Panel(system, title="system"), Panel(gpus, title="GPUs"))
    below.add_row(Panel(workers, title="workers"), right)
    return Group(Panel(run, title=title), below)


def _run(snapshot: Snapshot) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    status = snapshot.status
    trouble = [Text(_plain(line), style="red") for line in snapshot.trouble]
    if status is None:
        return Group(Text(f"{_plain(str(snapshot.folder))}: there is no run here any more"), *trouble)
    age_s = max(0.0, snapshot.read_at - status.updated_at)
    state = Text(f"{_plain(status.run_id)}  ")
    state.append(_plain(status.phase), style="bold")
    state.append(f"  PID {status.pid}  updated {age_s:.0f} s ago")
    if snapshot.abandoned:
        gone = f"coordinator not running (PID {status.pid}), started again by the same command"
        trouble.insert(0, Text(gone, style="bold red"))
    if status.message:
        trouble.append(Text(_plain(status.message), style="yellow"))
    return Group(state, _bar(status), *_figures(status), *_score(snapshot.score), *trouble)


def _bar(status: Status) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    share = status.done_jobs / max(1, status.total_jobs)
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    bar = ProgressBar(total=max(1, status.total_jobs), completed=status.done_jobs)
    row.add_row(bar, f"{status.done_jobs}/{status.total_jobs} jobs ({share:.1%})")
    return row


def _figures(status: Status) -> "list[Text]":
    from rich.text import Text

    eta = UNKNOWN if status.eta_s is None else hms(status.eta_s)
    pass_at_1 = UNKNOWN if status.pass_at_1 is None else f"{status.pass_at_1:.1%}"
    outcomes = "  ".join(f"{_plain(name)} {count}" for name, count in status.outcomes.items())
    rates = f"{_number(status.jobs_per_s, 1)} jobs/s  {_number(status.tokens_per_s)} tokens/s"
    return [
        Text(f"{rates}  elapsed {hms(status.elapsed_s)}  eta {eta}"),
        Text(f"pass@1 {pass_at_1}  {status.passed} of {status.judged} judged passed  {failures(status)}"),
        Text(f"outcomes  {outcomes or 'none yet'}"),
    ]


def _score(score: dict[str, object] | None) -> "list[Text]":
    from rich.text import Text

    if score is None:
        return []
    parts = [f"{name} {_plain(_shown(score[name]))}" for name in SCORES if name in score]
    return [Text(f"score  {'  '.join(parts)}", style="bold")]


def _workers(status: Status | None) -> "RenderableType":
    from rich.text import Text

    if status is None or not status.workers:
        return Text("no workers yet")
    table = _table("device", "state", "PID", "in flight", "rows", "done", "restarts")
    for worker in status.workers:
        state = Text(_plain(worker.state), style="green" if worker.state == "ready" else "yellow")
        numbers = (worker.pid or UNKNOWN, worker.in_flight, worker.rows_in_use, worker.done_jobs, worker.restarts)
        table.add_row(Text(_plain(worker.device)), state, *(str(number) for number in numbers))
    return table


def _system(snapshot: Snapshot) -> "RenderableType":
    from rich.text import Text

    if not snapshot.resources:
        return Text("no sample yet")
    row = snapshot.resources[-1]
    return Text(
        f"CPU {_cell(row, 'cpu_pct')} %  load {_cell(row, 'load1', 2)}  "
        f"RAM {_cell(row, 'ram_used_mb')} of {_cell(row, 'ram_total_mb')} MB\n"
        f"swap {_cell(row, 'swap_used_mb')} MB  disk free {_cell(row, 'disk_free_mb')} MB\n"
        f"coordinator  CPU {_cell(row, 'coordinator_cpu_pct')} %  {_cell(row, 'coordinator_rss_mb')} MB  "
        f"{_cell(row, 'coordinator_threads')} threads  "
        f"workers  CPU {_cell(row, 'workers_cpu_pct')} %  {_cell(row, 'workers_rss_mb')} MB\n"
        f"context switches  voluntary {_switches(snapshot.resources, 'coordinator_ctx_voluntary')}  "
        f"involuntary {_switches(snapshot.resources, 'coordinator_ctx_involuntary')}"
    )


def _gpus(snapshot: Snapshot) -> "RenderableType":
    from rich.text import Text

    if not snapshot.gpus:
        return Text("no GPU")
    table = _table("GPU", "name", "use %", "memory MB", "of", "°C", "W")
    for row in snapshot.gpus:
        cells = ("utilization_pct", "memory_used_mb", "memory_total_mb", "temperature_c", "power_w")
        names = (Text(_plain(row.get(column, ""))) for column in ("index", "name"))
        table.add_row(*names, *(_cell(row, cell) for cell in cells))
    return table


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, expand=True, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):  # the second column, a name or state, gives way when space is short
        left, ratio = number < 2, 1 if number == 1 else None
        table.add_column(column, justify="left" if left else "right", ratio=ratio, no_wrap=True)
    return table


def _switches(rows: Sequence[Row], column: str) -> str:
    """The total and, from the last two rows, the rate."""
    newest = _float(rows[-1].get(column))
    oldest = _float(rows[0].get(column))
    between = _difference(_float(rows[-1].get("elapsed_s")), _float(rows[0].get("elapsed_s")))
    added = _difference(newest, oldest)
    if not between or added is None or added < 0:  # one row only, or another session's
        return _number(newest)
    return f"{_number(newest)} ({added / between:.0f}/s)"


def _difference(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier


def _cell(row: Row, column: str, digits: int = 0) -> str:
    return _number(_float(row.get(column)), digits)


def _float(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:  # an empty cell: not measured
        return None


def _number(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else UNKNOWN if value is None else str(value)


def _plain(text: str) -> str:
    """The text with what could move a terminal's cursor or change its colours made visible."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not LEAST_S <= seconds <= MOST_S:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds from {LEAST_S:g} to {MOST_S:g}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="metrics_dashboard.py", description="Watch a run; q leaves.", allow_abbrev=False)
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds between frames (1.0)")
    parser.add_argument("--run", default="logs", metavar="DIR", help="the run folder (logs)")
    parser.add_argument("--once", action="store_true", help="print one plain frame and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
