"""The replicas panel: one row per GPU or CPU replica, and per GPU without a worker of its own."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from swarmeval.dashboard.format import UNKNOWN, gigabytes, heat, number, plain, short, spark, to_float
from swarmeval.dashboard.view import View
from swarmeval.records import WorkerStatus
from swarmeval.watch.snapshot import CsvRow

LEAST_SPARK, MOST_SPARK = 4, 24
HEADS = ("device", "state", "use", "", "memory", "temp", "power", "rows", "tok/s", "jobs", "restarts")
BRIEF = ("device", "state", "use", "", "GB", "temp", "power", "rows", "tok/s", "jobs", "rst")
ROOM = 100  # terminal width from which the full headings are used
USE, SPARK = 2, 3  # column indices
STATES = {"ready": "green", "loading": "cyan", "restarting": "yellow", "retired": "bold red"}


@dataclass(frozen=True, slots=True)
class _Device:
    """One row of the panel: a worker, a GPU, or both."""

    name: str
    worker: WorkerStatus | None = None
    gpu: CsvRow | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the device is on another machine, which is not sampled: "node/cpu:0", "endpoint:0"."""
        return "/" in self.name or self.name.startswith("endpoint:")


def replicas(view: View, width: int) -> list[Text]:
    """The panel's lines: a header, then one row per device."""
    devices = _devices(view)
    if not devices:
        return [Text("No workers yet")]
    cpu_workers = sum(device.gpu is None for device in devices)
    brief = width < ROOM
    heads = [Text(head, "dim") for head in (BRIEF if brief else HEADS)]
    rows = [heads, *(_row(view, device, cpu_workers, brief) for device in devices)]
    histories = [_history(view, device, cpu_workers) for device in devices]
    widths = [max(cell_len(row[column].plain) for row in rows) for column in range(len(HEADS))]
    left = width - sum(widths) - (len(HEADS) - 1)
    widths[SPARK] = min(MOST_SPARK, max(LEAST_SPARK, left))
    for row, history in zip(rows[1:], histories, strict=True):
        row[SPARK] = Text(spark(history, widths[SPARK], 100.0), "cyan")
    return [_line(row, widths) for row in rows]


def _devices(view: View) -> list[_Device]:
    """All workers in order, then the GPUs that belong to no single worker."""
    gpus = {f"cuda:{row.get('index', '')}": row for row in view.snapshot.latest_gpus()}
    workers = view.status.workers if view.status else ()
    devices = [_Device(plain(worker.device), worker, gpus.pop(worker.device, None)) for worker in workers]
    return devices + [_Device(plain(name), None, row) for name, row in gpus.items()]


def _row(view: View, device: _Device, cpu_workers: int, brief: bool) -> list[Text]:
    use = _history(view, device, cpu_workers)
    memory = _memory(view, device, cpu_workers)
    state = plain(device.worker.state) if device.worker else "no worker"
    return [
        Text(device.name, "bold"),
        Text(state, STATES.get(state, "")),
        Text(number(use[-1] if use else None, 0, " %")),
        Text(),  # the history, filled in once its width is known
        Text(memory.removesuffix(" GB") if brief else memory),
        _temperature(device.gpu, brief),
        Text(number(to_float(device.gpu.get("power_w")) if device.gpu else None, 0, " W")),
        *_work(view, device.worker),
    ]


def _work(view: View, worker: WorkerStatus | None) -> list[Text]:
    """Rows, tokens/s, jobs, restarts."""
    if worker is None:
        return [Text(UNKNOWN)] * 4
    texts = [str(worker.rows_in_use), short(_tokens_per_s(view, worker)), str(worker.done_jobs)]
    return [*map(Text, texts), Text(str(worker.restarts), "yellow" if worker.restarts else "")]


def _temperature(gpu: CsvRow | None, brief: bool) -> Text:
    """The temperature, its rating, and the reason for throttling if the GPU throttles."""
    shown = heat(to_float(gpu.get("temperature_c")) if gpu else None)
    if gpu and (throttle := plain(gpu.get("throttle", ""))):
        shown.append(" !" if brief else f" {throttle}", "bold red")
    return shown


def _tokens_per_s(view: View, worker: WorkerStatus) -> float | None:
    """Tokens per second of a worker in this session, computed from the journal."""
    status = view.status
    tokens = view.tally.tokens.get(worker.device)
    return tokens / status.elapsed_s if status and tokens is not None and status.elapsed_s > 0 else None


def _memory(view: View, device: _Device, cpu_workers: int) -> str:
    if device.gpu is not None:
        return gigabytes(to_float(device.gpu.get("memory_used_mb")), to_float(device.gpu.get("memory_total_mb")))
    if device.is_remote:
        return UNKNOWN
    used = view.now("workers_rss_mb")
    return gigabytes(None if used is None else used / cpu_workers, view.now("ram_total_mb"))


def _history(view: View, device: _Device, cpu_workers: int) -> list[float | None]:
    """Utilization in percent, per sample. For CPU replicas it is the average over all of them."""
    if device.gpu is not None:
        uuid = device.gpu.get("uuid")
        return [to_float(row.get("utilization_pct")) for row in view.snapshot.gpus if row.get("uuid") == uuid]
    cores = to_float((view.manifest.get("hardware") or {}).get("usable_cores"))
    if not cores or not cpu_workers or device.is_remote:
        return []
    return [None if pct is None else min(100.0, pct / cores) for pct in view.history("workers_cpu_pct")]


def _line(cells: list[Text], widths: list[int]) -> Text:
    """Join one row's cells: names left-aligned, numbers right-aligned."""
    line = Text()
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        gap = " " * (width - cell_len(cell.plain))
        line.append(" " if column else "")
        line.append_text(Text.assemble(cell, gap) if column < USE else Text.assemble(gap, cell))
    return line
