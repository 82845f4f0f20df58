"""Chooses the fleet that the settings name and checks it before anything is created."""

import asyncio
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import model_loader
from gpu_monitor import check_numbers, list_devices, visible_to_process
from swarmeval.engine.adapters.files import LoraFiles, located, read
from swarmeval.errors import ConfigError, DeviceError
from swarmeval.hub import commit_of
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.runs.prompts import example, stated_thinking
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.weight_rules import weight_format
from swarmeval.weight_formats import require_package
from swarmeval.workers import vllm_support
from swarmeval.workers.devices import DeviceSpec, choose_devices
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.protocol import Fleet
from swarmeval.workers.replica_spec import ReplicaSpec, Script, TraceSpec, read_script


@dataclass(frozen=True, slots=True)
class ChosenFleet:
    """A checked fleet that can be created."""

    model: str  # its name in result files
    local_devices: tuple[DeviceSpec, ...]  # its devices on this machine, which are monitored
    make: Callable[[Tracer | None], Fleet]
    facts: Callable[[], Mapping[str, object]] = dict  # its entries in the manifest
    check: Callable[[], None] | None = None  # raises UserError if the fleet cannot answer now
    adapters: Mapping[str, object] = field(default_factory=dict)  # per adapter, what identifies it


def choose(
    config: RunConfig, single_try: bool = False, most_prompt_tokens: int | None = None, infilling: bool = False
) -> ChosenFleet:
    """Choose the fleet for a run. `single_try`: do not retry requests that fail at a server.

    `most_prompt_tokens` bounds the length of the prompts, if it is known. `infilling`: whether tasks have gaps to fill.

    Raises ConfigError, DeviceError, ModelUnavailable.
    """
    if config.fleet == "endpoint":
        return _endpoint(config, single_try, infilling)
    return (_ray if config.fleet == "ray" else _local)(config, most_prompt_tokens)


def _local(config: RunConfig, most_prompt_tokens: int | None) -> ChosenFleet:
    """One worker process per device of this machine."""
    if config.fleet == "vllm":
        vllm_support.check(config.device, weight_format(config))
    every = list_devices() if config.device == "cuda" and config.engine != "scripted" else ()
    check_numbers(every, os.environ)
    gpus = visible_to_process(every)
    devices = choose_devices(config, gpus, os.environ, len(os.sched_getaffinity(0)))
    scripted, script = config.engine == "scripted", _script(config)
    model = "scripted" if scripted else _located(config)
    found = _adapters(config)

    def make(tracer: Tracer | None) -> Fleet:
        specs = [
            replica(
                config,
                model,
                device.name if scripted else device.torch_device,
                TraceSpec(str(tracer.folder), device.name, tracer.session, tracer.origin_ns) if tracer else None,
                script,
                most_prompt_tokens,
                {files.name: str(files.folder) for files in found},
            )
            for device in devices
        ]
        return LocalFleet(devices, specs, config.workers.timeout_s, config.workers.load_timeout_s)

    adapters = {files.name: files.facts() for files in found}
    commit = commit_of(model)
    return ChosenFleet(
        "scripted" if scripted else config.model_id,
        devices,
        make,
        lambda: {"model_commit": commit} if commit else {},
        adapters=adapters,
    )


def _located(config: RunConfig) -> str:
    """The model's folder, with weights that can be loaded as the settings say. Raises ModelUnavailable."""
    return model_loader.locate(
        config.model_id,
        code=config.trust_remote_code,
        weights=weight_format(config),
        by_vllm=config.fleet == "vllm",
        revision=config.model_revision,
    )


def _endpoint(config: RunConfig, single_try: bool, infilling: bool) -> ChosenFleet:
    """One worker per server. Its devices are not monitored."""
    from swarmeval.workers.endpoint.body import RequestFormat
    from swarmeval.workers.endpoint.client import key_from
    from swarmeval.workers.endpoint.fleet import EndpointFleet  # imports an HTTP client
    from swarmeval.workers.endpoint.life import EndpointOptions
    from swarmeval.workers.endpoint.probe import Mode

    key = key_from(config.endpoint.key_env, os.environ, config.is_set("endpoint.key_env"))
    modes: tuple[Mode, ...] = ("chat", "completion") if config.prompt_mode == "auto" else (config.prompt_mode,)
    options = EndpointOptions(
        request_format=RequestFormat(
            config.model_id,
            config.endpoint.dialect,
            config.endpoint.body,
            read_template(config),
            {name: served for name, served in config.adapters.items() if served},
        ),
        key=key,
        modes={mode: example(config, mode, infilling) for mode in modes},
        concurrency=config.endpoint.concurrency,
        silence_s=config.endpoint.timeout_s,
        patience_s=config.workers.timeout_s,
        start_s=config.workers.load_timeout_s,
        combine_samples=config.endpoint.samples == "auto",
        single_try=single_try,
    )
    urls = config.endpoint.urls
    return ChosenFleet(
        config.model_id,
        (),
        lambda _: EndpointFleet(urls, options),
        check=lambda: asyncio.run(EndpointFleet(urls, options).check()),
    )


def _ray(config: RunConfig, most_prompt_tokens: int | None) -> ChosenFleet:
    """One actor per device of each node of a Ray cluster. Checks every node now."""
    from swarmeval.workers.ray import nodes
    from swarmeval.workers.ray.cluster import Cluster
    from swarmeval.workers.ray.fleet import RayFleet, shared_adapters

    if config.engine != "scripted":
        require_package(weight_format(config))  # as on every node
    script = _script(config)
    cluster = Cluster.join(config.ray.address, os.environ)
    ours = {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in nodes.required_packages(config)},
    }

    found = _adapters(config)
    sources = shared_adapters(config)

    def describe(model: str, device: str) -> ReplicaSpec:
        return replica(config, model, device, script=script, most_prompt_tokens=most_prompt_tokens, adapters=sources)

    fleet = RayFleet(cluster, config, ours, describe, adapters={files.name: files.digests() for files in found})
    try:
        fleet.gather()
    except DeviceError:
        cluster.leave()
        raise
    model = "scripted" if config.engine == "scripted" else config.model_id
    adapters = {files.name: files.facts() for files in found}
    commit = {"model_commit": fleet.commit} if fleet.commit else {}
    return ChosenFleet(model, (), lambda tracer: fleet, lambda: {"nodes": fleet.nodes, **commit}, adapters=adapters)


def _adapters(config: RunConfig) -> list[LoraFiles]:
    """The files of the adapters, downloaded if necessary. Raises ModelUnavailable."""
    if config.engine == "scripted":
        return []
    return [read(name, located(name, source)) for name, source in config.adapters.items() if source]


def read_template(config: RunConfig) -> str | None:
    """The text of the file that chat_template names; None if it is unset. Raises ConfigError."""
    if config.chat_template is None:
        return None
    try:
        return Path(config.chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"chat_template: {config.chat_template}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"chat_template: {config.chat_template}: is not UTF-8 text; save it as UTF-8") from None


def _script(config: RunConfig) -> Script:
    """The script of a scripted replica, if model_id names a JSON file. Raises ConfigError."""
    path = Path(config.model_id)
    if path.suffix != ".json":
        return Script()
    if config.engine != "scripted" and path.is_file():
        raise ConfigError(f"model_id is {config.model_id!r}, a script for dry runs; set engine: scripted to use it")
    return read_script(path) if config.engine == "scripted" else Script()


def replica(
    config: RunConfig,
    model: str,
    device: str,
    trace: TraceSpec | None = None,
    script: Script | None = None,
    most_prompt_tokens: int | None = None,
    adapters: Mapping[str, str] | None = None,
) -> ReplicaSpec:
    """Describe the replica that a worker loads. `device`: its name inside the worker."""
    return ReplicaSpec(
        engine="vllm" if config.fleet == "vllm" else "scripted" if config.engine == "scripted" else "hf",
        model=model,
        device=device,
        weights=weight_format(config),
        weight_cache=config.replica.weight_cache,
        native_kernels=config.replica.native_kernels,
        cuda_graphs=config.replica.cuda_graphs,
        share_answers=config.replica.share_answers,
        data_parallel=config.use_data_parallelism,
        rows=None if config.replica.rows == "auto" else config.replica.rows,
        max_new_tokens=config.max_new_tokens,
        most_prompt_tokens=most_prompt_tokens,
        adapters=tuple((adapters or {}).items()),
        chat_template=read_template(config),
        chat_template_kwargs=config.chat_template_kwargs,
        thinking=stated_thinking(config),
        trust_remote_code=config.trust_remote_code,
        double_quantization=config.replica.double_quantization,
        quantization_block=config.replica.quantization_block,
        vllm_args=config.vllm.args,
        neighbours=config.cpu_workers if config.device == "cpu" else 1,
        script=script or Script(),
        trace=trace,
    )
