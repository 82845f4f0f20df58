"""The nodes of a cluster and the replicas that go on them: names, shares, what makes a node unfit. Knows no Ray."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.devices import DeviceSpec, choose_devices

# What must be the same here and on every node: all that replies depend on, and what carries the messages.
PACKAGES = ("ray", "msgspec", "pydantic")
MODEL_PACKAGES = ("torch", "transformers", "bitsandbytes")


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, as Ray reports it."""

    id: str
    host: str
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What the inspection of a node showed."""

    versions: Mapping[str, str]  # "" where a package is missing
    model: str  # what to load there
    problem: str  # why the model cannot be


# A string says why the inspection failed; None: there is no such node any more, or not yet.
Inspection = NodeReport | str | None


@dataclass(frozen=True, slots=True)
class ReplicaSlot:
    """A replica's place: a device of a node, and the share of the node that it takes."""

    node: Node
    device: DeviceSpec
    cpus: float
    gpus: float
    model: str


def required_packages(config: RunConfig) -> tuple[str, ...]:
    """The packages whose versions count."""
    return PACKAGES if config.engine == "scripted" else PACKAGES + MODEL_PACKAGES


def name_for(node: Node, taken: Collection[str]) -> str:
    """Its host's name; one that has had this name before gets the begin of the node's id with it."""
    return node.host if node.host not in taken else f"{node.host}-{node.id[:6]}"


def is_usable(node: Node, config: RunConfig) -> bool:
    """Whether it has what replicas run on."""
    return (node.gpus if _on_gpus(config) else node.cpus) > 0


def unfit_reason(name: str, report: NodeReport, required: Mapping[str, str]) -> str | None:
    """Why replicas cannot run on this node, in one line with the remedy; None when they can."""
    wrong = [
        f"{package} {installed or 'missing'} (here {version})"
        for package, version in required.items()
        if _public(installed := report.versions.get(package, "")) != _public(version)
    ]
    if wrong:
        remedy = "install the same Python there, and in the same checkout: pip install '.[ray]'"
        return f"node {name}: has {', '.join(wrong)}; {remedy}"
    if report.problem:
        return f"node {name}: {report.problem}; put the model there: nodes do not fetch it during a run"
    return None


def slots(
    node: Node, name: str, report: NodeReport, config: RunConfig, environ: Mapping[str, str]
) -> tuple[ReplicaSlot, ...]:
    """The replicas that this node holds: one for each GPU, or `cpu_workers` that share its cores."""
    if not _on_gpus(config):
        devices = choose_devices(config, (), environ, max(1, int(node.cpus)))
        share = int(node.cpus / len(devices) * 10_000) / 10_000  # what Ray can count
        return tuple(ReplicaSlot(node, _on(name, device, environ), share, 0.0, report.model) for device in devices)
    gpus = int(node.gpus)
    if not config.use_data_parallelism:
        return (ReplicaSlot(node, _on(name, DeviceSpec("cuda:all", "cuda"), environ), 0.0, gpus, report.model),)
    devices = tuple(DeviceSpec(f"cuda:{number}", "cuda:0") for number in range(gpus))
    return tuple(ReplicaSlot(node, _on(name, device, environ), 0.0, 1.0, report.model) for device in devices)


def _on_gpus(config: RunConfig) -> bool:
    return config.device == "cuda" and config.engine != "scripted"


def _on(name: str, device: DeviceSpec, environ: Mapping[str, str]) -> DeviceSpec:
    """A device of this node, with all that its worker's environment needs."""
    threads = {"OMP_NUM_THREADS": environ["OMP_NUM_THREADS"]} if "OMP_NUM_THREADS" in environ else {}
    env = {
        **threads,
        **device.env,
        "HF_HUB_OFFLINE": "1",  # the model was found there before
        "TOKENIZERS_PARALLELISM": environ.get("TOKENIZERS_PARALLELISM", "false"),
    }
    return DeviceSpec(f"{name}/{device.name}", device.torch_device, env=env)


def _public(version: str) -> str:
    """Without what distinguishes builds: a node with GPUs has another build of torch than one without."""
    return version.split("+")[0]
