"""Nodes of a cluster and their replica slots: names, resource shares, fitness checks. Does not call Ray."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.weight_rules import weight_format
from swarmeval.weight_formats import INT8_PACKAGE
from swarmeval.workers.devices import DeviceSpec, choose_devices

# Packages whose versions must agree on all nodes: those that affect replies or carry messages.
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
    """Result of inspecting a node."""

    versions: Mapping[str, str]  # "" for a missing package
    model: str  # the model to load on that node
    problem: str  # why the model or an adapter cannot be loaded, or ""
    adapters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # SHA-256 of the files of each adapter


# A string gives the reason why the inspection failed; None: the node is gone or not ready yet.
Inspection = NodeReport | str | None


@dataclass(frozen=True, slots=True)
class ReplicaSlot:
    """The place of one replica: a device of a node, and the resources it takes there."""

    node: Node
    device: DeviceSpec
    cpus: float
    gpus: float
    model: str


def required_packages(config: RunConfig) -> tuple[str, ...]:
    """The packages whose versions must agree on all nodes."""
    if config.engine == "scripted":
        return PACKAGES
    return (*PACKAGES, *MODEL_PACKAGES, *((INT8_PACKAGE,) if weight_format(config) == "int8" else ()))


def name_for(node: Node, taken: Collection[str]) -> str:
    """The node's host name, with the start of the node's id appended if the name is taken."""
    return node.host if node.host not in taken else f"{node.host}-{node.id[:6]}"


def is_usable(node: Node, config: RunConfig) -> bool:
    """Whether the node has a processor of the kind that replicas need."""
    return (node.gpus if _on_gpus(config) else node.cpus) > 0


def unfit_reason(
    name: str, report: NodeReport, required: Mapping[str, str], adapters: Mapping[str, Mapping[str, str]]
) -> str | None:
    """One line that says why replicas cannot run on this node and what to do; None if they can.

    `required` maps packages to versions, `adapters` the adapters of the run to the digests of their files here.
    """
    wrong = [
        f"{package} {installed or 'missing'} (here {version})"
        for package, version in required.items()
        if _public(installed := report.versions.get(package, "")) != _public(version)
    ]
    if wrong:
        remedy = "install the same Python there, and in the same checkout: pip install '.[ray]'"
        return f"node {name}: has {', '.join(wrong)}; {remedy}"
    if report.problem:
        missing = "adapter" if report.problem.startswith("adapters.") else "model"
        return f"node {name}: {report.problem}; copy the {missing} to the node (nodes do not download it during a run)"
    for adapter, digests in adapters.items():
        if report.adapters.get(adapter) != digests:
            return f"node {name}: adapters.{adapter}: its files differ from those here; copy the adapter to the node"
    return None


def slots(
    node: Node, name: str, report: NodeReport, config: RunConfig, environ: Mapping[str, str]
) -> tuple[ReplicaSlot, ...]:
    """The replica slots of this node: one per GPU, or `cpu_workers` that share its cores."""
    if not _on_gpus(config):
        devices = choose_devices(config, (), environ, max(1, int(node.cpus)))
        share = int(node.cpus / len(devices) * 10_000) / 10_000  # Ray's resolution
        return tuple(ReplicaSlot(node, _on(name, device, environ), share, 0.0, report.model) for device in devices)
    gpus = int(node.gpus)
    if not config.use_data_parallelism:
        return (ReplicaSlot(node, _on(name, DeviceSpec("cuda:all", "cuda"), environ), 0.0, gpus, report.model),)
    devices = tuple(DeviceSpec(f"cuda:{number}", "cuda:0") for number in range(gpus))
    return tuple(ReplicaSlot(node, _on(name, device, environ), 0.0, 1.0, report.model) for device in devices)


def _on_gpus(config: RunConfig) -> bool:
    return config.device == "cuda" and config.engine != "scripted"


def _on(name: str, device: DeviceSpec, environ: Mapping[str, str]) -> DeviceSpec:
    """A device of this node, with the complete environment for its worker."""
    threads = {"OMP_NUM_THREADS": environ["OMP_NUM_THREADS"]} if "OMP_NUM_THREADS" in environ else {}
    env = {
        **threads,
        **device.env,
        "HF_HUB_OFFLINE": "1",  # the inspection found the model on the node
        "TOKENIZERS_PARALLELISM": environ.get("TOKENIZERS_PARALLELISM", "false"),
    }
    return DeviceSpec(f"{name}/{device.name}", device.torch_device, env=env)


def _public(version: str) -> str:
    """The version without its local part: GPU nodes have another build of torch than CPU nodes."""
    return version.split("+")[0]
