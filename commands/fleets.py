"""Which fleet answers: what the setting names, checked before anything is made."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import model_loader
from bench.errors import ConfigError
from bench.settings import RunConfig
from gpu_monitor import list_devices, visible_here
from watch.trace import Tracer
from workers.devices import DeviceSpec, choose_devices
from workers.local import LocalFleet
from workers.protocol import Fleet
from workers.replica_spec import ReplicaSpec, Script, TraceSpec, read_script


@dataclass(frozen=True, slots=True)
class Chosen:
    """A fleet that can be made."""

    model: str  # as files name it
    here: tuple[DeviceSpec, ...]  # its devices on this machine, which are watched
    make: Callable[[Tracer | None], Fleet]


def choose(config: RunConfig) -> Chosen:
    """What answers this run. Raises DeviceError, ModelUnavailable."""
    return _local(config)


def _local(config: RunConfig) -> Chosen:
    """A worker process per device of this machine."""
    gpus = visible_here(list_devices()) if config.device == "cuda" else ()
    devices = choose_devices(config, gpus, os.environ, len(os.sched_getaffinity(0)))
    scripted, script = config.engine == "scripted", _script(config)
    model = "scripted" if scripted else model_loader.locate(config.model_id)

    def make(tracer: Tracer | None) -> Fleet:
        specs = [
            replica(
                config,
                model,
                device.name if scripted else device.torch_device,
                TraceSpec(str(tracer.folder), device.name, tracer.session, tracer.origin_ns) if tracer else None,
                script,
            )
            for device in devices
        ]
        return LocalFleet(devices, specs, config.worker_timeout_s, config.load_timeout_s)

    return Chosen("scripted" if scripted else config.model_id, devices, make)


def _script(config: RunConfig) -> Script:
    """What a scripted replica shall do, in the JSON file that model_id names, if it does. Raises ConfigError."""
    path = Path(config.model_id)
    if path.suffix != ".json":
        return Script()
    if config.engine != "scripted" and path.is_file():
        raise ConfigError(f"model_id is {config.model_id!r}, a script for dry runs; set engine: scripted with it")
    return read_script(path) if config.engine == "scripted" else Script()


def replica(
    config: RunConfig, model: str, device: str, trace: TraceSpec | None = None, script: Script | None = None
) -> ReplicaSpec:
    """What a worker is told to load, `device` as it sees it."""
    return ReplicaSpec(
        engine=config.engine,
        model=model,
        device=device,
        load_in_4bit=config.load_in_4bit,
        cpu_kernel=config.cpu_kernel,
        native_kernels=config.native_kernels,
        cuda_graphs=config.cuda_graphs,
        data_parallel=config.use_data_parallelism,
        rows=None if config.engine_rows == "auto" else config.engine_rows,
        max_new_tokens=config.max_new_tokens,
        neighbours=config.cpu_workers if config.device == "cpu" else 1,
        script=script or Script(),
        trace=trace,
    )
