"""The machine's hardware, and its utilization by all processes, from psutil. Knows nothing about runs."""

import os
import platform
from pathlib import Path

from gpu_monitor import list_devices

MIB = 1024 * 1024
COLUMNS = (
    "cpu_pct", "cpu_cores_pct", "load1", "ram_used_mb", "ram_total_mb", "swap_used_mb", "swap_total_mb", "disk_free_mb",
    "disk_used_pct", "disk_read_mb", "disk_write_mb", "net_received_mb", "net_sent_mb",
)  # fmt: skip


def hardware() -> dict[str, object]:
    """Describe this machine for the manifest. Unknown core counts are None."""
    import psutil

    return {
        "cpu": _cpu_model(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(logical=True),
        "usable_cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None,
        "ram_mb": round(psutil.virtual_memory().total / MIB),
        "gpus": [
            {"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name, "memory_total_mb": gpu.memory_total_mb}
            for gpu in list_devices()
        ],
        "platform": platform.platform(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def use(folder: Path) -> dict[str, float | str | int | None]:
    """Measure the utilization of the machine, by column.

    CPU is the average since the previous call. Disk and network count since boot; network excludes loopback.
    """
    import psutil

    cores = psutil.cpu_percent(percpu=True)
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    space = psutil.disk_usage(str(folder))
    disk, cards = psutil.disk_io_counters(), psutil.net_io_counters(pernic=True)
    network = [card for name, card in cards.items() if name != "lo"]
    return {
        "cpu_pct": sum(cores) / len(cores),
        "cpu_cores_pct": " ".join(f"{core:g}" for core in cores),
        "load1": os.getloadavg()[0],
        "ram_used_mb": (memory.total - memory.available) / MIB,
        "ram_total_mb": memory.total / MIB,
        "swap_used_mb": swap.used / MIB,
        "swap_total_mb": swap.total / MIB,
        "disk_free_mb": space.free / MIB,
        "disk_used_pct": space.percent,
        "disk_read_mb": None if disk is None else disk.read_bytes / MIB,  # None: no disk counters
        "disk_write_mb": None if disk is None else disk.write_bytes / MIB,
        "net_received_mb": sum(card.bytes_recv for card in network) / MIB,
        "net_sent_mb": sum(card.bytes_sent for card in network) / MIB,
    }
