"""Cores and priority of each worker: computed and checked in the coordinator, applied in the worker.

Judges have their own priority (swarmeval/sandbox/priority.py). Judges and the coordinator are not pinned to cores.
"""

import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarmeval.errors import ConfigError
from swarmeval.sandbox.priority import LOWEST, step_back
from swarmeval.settings.run_config import RunConfig

CORES, NICE = "SWARMEVAL_CORES", "SWARMEVAL_NICE"  # environment variables of a worker
CPUS = Path("/sys/devices/system/cpu")

Env = dict[str, str]


def allowed_cores() -> tuple[int, ...]:
    """The cores that this process may use, ascending; taskset, cgroups and batch systems can restrict them."""
    return tuple(sorted(os.sched_getaffinity(0)))


def worker_envs(
    config: RunConfig, workers: int, environ: Mapping[str, str], allowed: Sequence[int], cpus: Path = CPUS
) -> list[Env]:
    """The environment variables that give each worker its cores, thread count and priority.

    Raises ConfigError for unavailable cores or a priority that this account may not set.
    """
    if config.workers.nice:
        check_nice(config.workers.nice)
    envs: list[Env] = [{NICE: str(config.workers.nice)} if config.workers.nice else {} for _ in range(workers)]
    if config.workers.cpu_affinity == "off":
        return envs
    cores = _requested_cores(config.workers.cpu_affinity, allowed)
    parts = shares(in_order(cores, cpus), workers) if config.device == "cpu" else [list(cores)] * workers
    for env, part in zip(envs, parts, strict=True):
        env[CORES] = ",".join(map(str, sorted(part)))
        if config.device == "cpu" and "OMP_NUM_THREADS" not in environ:
            env["OMP_NUM_THREADS"] = str(len(part))
    return envs


def check_nice(by: int) -> None:
    """Raise ConfigError if a worker cannot get this priority. Tries it on a short-lived thread."""
    now = os.getpriority(os.PRIO_PROCESS, 0)
    if now + by > LOWEST:
        raise ConfigError(
            f"workers.nice is {by}, but this run already has nice {now} and the limit is {LOWEST}; "
            f"use at most {LOWEST - now}"
        )
    refused: list[OSError] = []

    def attempt() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), now + by)
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if refused:
        raise ConfigError(f"workers.nice is {by}, which this account has no permission to set; use 0 to {LOWEST - now}")


def in_order(cores: Sequence[int], cpus: Path = CPUS) -> list[int]:
    """Sort the cores so that neighbours share a NUMA node, then a package, then a physical core (hyperthreads)."""

    def place(core: int) -> tuple[int, int, int, int]:
        folder = cpus / f"cpu{core}"
        node = next((int(path.name[4:]) for path in folder.glob("node[0-9]*")), 0)
        return node, _number(folder / "topology/physical_package_id"), _number(folder / "topology/core_id"), core

    return sorted(cores, key=place)


def shares(cores: Sequence[int], workers: int) -> list[list[int]]:
    """Split the cores into contiguous parts of nearly equal size; if workers outnumber cores, some share a core."""
    if workers > len(cores):
        return [[cores[number % len(cores)]] for number in range(workers)]
    ends = [len(cores) * number // workers for number in range(workers + 1)]
    return [list(cores[begin:end]) for begin, end in itertools.pairwise(ends)]


def apply(environ: Mapping[str, str]) -> None:
    """Apply this worker's cores and priority. Call it before any thread starts."""
    if CORES in environ:
        os.sched_setaffinity(0, {int(core) for core in environ[CORES].split(",")})
    if NICE in environ:
        step_back(int(environ[NICE]))


def placement_of(pid: int) -> dict[str, object] | None:
    """A process's cores and nice value, for the manifest; None if it has ended."""
    try:
        return {"cores": _ranges(sorted(os.sched_getaffinity(pid))), "nice": os.getpriority(os.PRIO_PROCESS, pid)}
    except OSError:
        return None


def _requested_cores(requested: str | tuple[int, ...], allowed: Sequence[int]) -> Sequence[int]:
    if isinstance(requested, str):
        return allowed
    missing = sorted(set(requested) - set(allowed))
    if missing:
        raise ConfigError(
            f"workers.cpu_affinity names core {missing[0]}, but this run may use {_ranges(sorted(allowed))} only"
        )
    return requested


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not every machine reports its topology
        return 0


def _ranges(cores: Sequence[int]) -> str:
    """Format sorted numbers as ranges: 0-3,8."""
    parts: list[list[int]] = []
    for core in cores:
        if parts and core == parts[-1][-1] + 1:
            parts[-1].append(core)
        else:
            parts.append([core])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
