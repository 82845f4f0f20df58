"""Which devices a run uses and what environment each worker gets. Knows no process and no NVML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from swarmeval.errors import DeviceError
from swarmeval.location import environment
from swarmeval.records import DeviceSample
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.placement import allowed_cores, worker_envs

# How long a thread on a CPU spins before it sleeps, where it waits for its team: about half a millisecond. OpenMP's own
# 300,000 spin away the time slice of the thread they wait for when the machine is busy: a product of two matrices took
# 8 ms instead of 0.2 ms. None at all costs a tenth of the speed on a quiet one, where a core that sleeps wakes slowly.
SPINS = "10000"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One place a replica goes: how files call it, and how its worker finds it."""

    name: str  # physical: "cuda:3", "cuda:3:1:0" (a MIG instance), "cpu:0", "cuda:all" when sharded
    torch_device: str  # as the worker sees it
    uuid: str = ""
    env: Mapping[str, str] = field(default_factory=dict)  # laid over the coordinator's environment


def choose_devices(
    config: RunConfig, gpus: Sequence[DeviceSample], environ: Mapping[str, str], cores: int
) -> tuple[DeviceSpec, ...]:
    """The devices of a run; `gpus` are the visible ones, in the user's order.

    Raises DeviceError when CUDA is asked for and there is no GPU, ConfigError for a place that workers cannot have.
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
        where = f"CUDA_VISIBLE_DEVICES={environ['CUDA_VISIBLE_DEVICES']!r} leaves none" if hidden else "none was found"
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
        return (DeviceSpec("cuda:all", "cuda", uuids, _cuda_env(uuids)),)
    return tuple(DeviceSpec(f"cuda:{gpu.place}", "cuda:0", gpu.uuid, _cuda_env(gpu.uuid)) for gpu in gpus)


def worker_env(spec: DeviceSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one worker; what the user set stays, CUDA_VISIBLE_DEVICES aside (it narrows it)."""
    return {
        **environment(environ),
        **spec.env,
        "PYTHONUNBUFFERED": "1",
        # The coordinator has fetched the model already; eight workers must not ask the hub again.
        "HF_HUB_OFFLINE": environ.get("HF_HUB_OFFLINE", "1"),
        "TOKENIZERS_PARALLELISM": environ.get("TOKENIZERS_PARALLELISM", "false"),
    }


def _cuda_env(uuids: str) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": uuids}


def _cpu_devices(count: int, environ: Mapping[str, str], cores: int) -> tuple[DeviceSpec, ...]:
    """CPU replicas that share the cores out; a thread count the user set is obeyed."""
    env = {"CUDA_VISIBLE_DEVICES": ""}
    if "OMP_NUM_THREADS" not in environ:
        env["OMP_NUM_THREADS"] = str(max(1, cores // count))
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environ.keys():
        env["GOMP_SPINCOUNT"] = SPINS
    return tuple(DeviceSpec(f"cpu:{number}", "cpu", env=env) for number in range(count))
