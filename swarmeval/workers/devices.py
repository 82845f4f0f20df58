"""The devices of a run and the environment of each worker. Starts no process and does not query NVML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from swarmeval.device_sample import DeviceSample
from swarmeval.errors import DeviceError
from swarmeval.location import environment
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.placement import allowed_cores, worker_envs
from swarmeval.workers.vllm_settings import GPU_NUMBER

# Spins of an OpenMP thread before it sleeps, about half a millisecond. On a busy machine, the default of 300,000 wastes
# the time slice that the other threads need: a matrix product took 8 ms instead of 0.2 ms. Without spinning, an idle
# machine loses a tenth of its speed, because sleeping cores wake slowly.
SPINS = "10000"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device for a replica: its name in files, and how its worker addresses it."""

    name: str  # physical: "cuda:3", "cuda:3:1:0" (a MIG instance), "cpu:0", "cuda:all" when sharded
    torch_device: str  # as the worker sees it
    uuid: str = ""
    env: Mapping[str, str] = field(default_factory=dict)  # overrides the coordinator's environment


def choose_devices(
    config: RunConfig, gpus: Sequence[DeviceSample], environ: Mapping[str, str], cores: int
) -> tuple[DeviceSpec, ...]:
    """Choose the devices of a run; `gpus` are the visible GPUs in the user's order.

    Raises DeviceError if CUDA is requested without a GPU, ConfigError if a worker cannot get its cores or priority.
    """
    devices = _devices(config, gpus, environ, cores)
    places = worker_envs(config, len(devices), environ, allowed_cores())
    return tuple(replace(device, env={**device.env, **place}) for device, place in zip(devices, places, strict=True))


def _devices(
    config: RunConfig, gpus: Sequence[DeviceSample], environ: Mapping[str, str], cores: int
) -> tuple[DeviceSpec, ...]:
    if config.device == "cpu" or config.engine == "scripted":
        return _cpu_devices(config.cpu_workers, environ, cores)
    if not gpus:
        hidden = "CUDA_VISIBLE_DEVICES" in environ
        where = f"none with CUDA_VISIBLE_DEVICES={environ['CUDA_VISIBLE_DEVICES']!r}" if hidden else "none was found"
        raise DeviceError(
            f"device is 'cuda' but this machine has no usable NVIDIA GPU ({where}); "
            "try --config config/smoke.yaml, or --set device=cpu"
        )
    if not config.use_data_parallelism:
        if len(gpus) > 1 and any(gpu.instance for gpu in gpus):
            raise DeviceError(
                "use_data_parallelism is false, but a model cannot be sharded over MIG instances: a process sees one "
                "at most; use true, or name one in CUDA_VISIBLE_DEVICES"
            )
        uuids = ",".join(gpu.uuid for gpu in gpus)
        return (DeviceSpec("cuda:all", "cuda", uuids, _cuda_env(gpus)),)
    return tuple(DeviceSpec(f"cuda:{gpu.place}", "cuda:0", gpu.uuid, _cuda_env([gpu])) for gpu in gpus)


def worker_env(spec: DeviceSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of one worker. User settings are kept, but CUDA_VISIBLE_DEVICES is narrowed."""
    return {
        **environment(environ),
        **spec.env,
        "PYTHONUNBUFFERED": "1",
        # The coordinator has downloaded the model already, so workers need not contact the hub.
        "HF_HUB_OFFLINE": environ.get("HF_HUB_OFFLINE", "1"),
        "TOKENIZERS_PARALLELISM": environ.get("TOKENIZERS_PARALLELISM", "false"),
    }


def _cuda_env(gpus: Sequence[DeviceSample]) -> dict[str, str]:
    env = {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus)}
    return env | {GPU_NUMBER: str(gpus[0].index)} if gpus[0].instance else env


def _cpu_devices(count: int, environ: Mapping[str, str], cores: int) -> tuple[DeviceSpec, ...]:
    """CPU replicas that share the cores equally; a thread count set by the user takes precedence."""
    env = {"CUDA_VISIBLE_DEVICES": ""}
    if "OMP_NUM_THREADS" not in environ:
        env["OMP_NUM_THREADS"] = str(max(1, cores // count))
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environ.keys():
        env["GOMP_SPINCOUNT"] = SPINS
    return tuple(DeviceSpec(f"cpu:{number}", "cpu", env=env) for number in range(count))
