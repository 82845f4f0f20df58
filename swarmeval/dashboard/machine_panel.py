"""The machine panels: system load, and the processes of the run."""

from rich.text import Text

from swarmeval.dashboard.format import UNKNOWN, bar, flow, gigabytes, load_style, number, spark, to_float
from swarmeval.dashboard.view import View

SPARK_WIDTH = 12
BAR_WIDTH = 8
MANY_CORES = 64  # with more cores, the blocks per core are left out


def system(view: View, width: int) -> list[Text]:
    """Lines with CPU and load, memory and swap, disk and I/O, network and power."""
    if not view.snapshot.resources:
        return [Text("No samples yet")]
    now = view.now
    used, total = now("ram_used_mb"), now("ram_total_mb")
    swap = gigabytes(now("swap_used_mb"), now("swap_total_mb"))
    first: list[Text | str] = [
        _graph("CPU", f"{number(now('cpu_pct'))} %", view.history("cpu_pct"), 100.0),
        f"load {number(now('load1'), 2)}",
        *_cores(view),
        _bar("RAM", None if used is None or not total else used / total, gigabytes(used, total)),
        f"swap {swap}",
    ]
    full = now("disk_used_pct")
    second: list[Text | str] = [
        _bar("disk", None if full is None else full / 100, f"{gigabytes(now('disk_free_mb'), None)} free"),
        f"read {_megabytes(view.rate('disk_read_mb'))}",
        f"write {_megabytes(view.rate('disk_write_mb'))}",
        f"net in {_megabytes(view.rate('net_received_mb'))} out {_megabytes(view.rate('net_sent_mb'))}",
    ]
    watts = view.rate("rapl_j")
    return [*flow(first, width), *flow(second if watts is None else [*second, f"CPU power {watts:.0f} W"], width)]


def processes(view: View, width: int) -> list[Text]:
    """Lines with the coordinator and its context switches, the workers, the judges, and all Python processes."""
    if not view.snapshot.resources:
        return [Text("No samples yet")]
    now = view.now
    pid = view.snapshot.pid or UNKNOWN
    lag, judges = now("loop_lag_ms"), now("judges_processes")
    parts = [
        f"coordinator PID {pid}  {_use(view, 'coordinator')}  {number(now('coordinator_threads'))} threads",
        f"Python processes {number(now('python_processes'))}",
        f"context switches {_switches(view, 'voluntary')}, {_switches(view, 'involuntary')}",
        f"workers {_use(view, 'workers')}",
        "" if judges is None else f"judges {number(judges)}  {_use(view, 'judges')}",
        "" if lag is None else f"event loop lag {lag:.0f} ms",
    ]
    return flow([part for part in parts if part], width)


def _use(view: View, whose: str) -> str:
    """CPU (100 % is one core) and resident memory of a group of processes."""
    cpu, rss = view.now(f"{whose}_cpu_pct"), view.now(f"{whose}_rss_mb")
    return UNKNOWN if cpu is None and rss is None else f"{number(cpu)} %  {number(rss)} MB"


def _switches(view: View, kind: str) -> str:
    """Context switches of one kind: total, and per second."""
    column = f"coordinator_ctx_{kind}"
    a_second = view.rate(column)
    rate = "" if a_second is None else f" ({a_second:.0f}/s)"
    return f"{number(view.now(column))} {kind}{rate}"


def _cores(view: View) -> list[str]:
    """One block per core; empty with more than MANY_CORES cores."""
    cells = view.snapshot.resources[-1].get("cpu_cores_pct", "").split()
    return (
        [f"cores {spark([to_float(cell) for cell in cells], len(cells), 100.0)}"]
        if 0 < len(cells) <= MANY_CORES
        else []
    )


def _graph(name: str, shown: str, history: list[float | None], most: float) -> Text:
    return Text.assemble(f"{name} {shown} ", (spark(history, SPARK_WIDTH, most), "cyan"))


def _bar(name: str, share: float | None, shown: str) -> Text:
    if share is None:
        return Text(f"{name} {shown}")
    return Text.assemble(f"{name} ", bar(share, BAR_WIDTH, load_style(share)), f" {shown}")


def _megabytes(a_second: float | None) -> str:
    return UNKNOWN if a_second is None else f"{a_second:.1f} MB/s"
