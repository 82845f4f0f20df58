"""The Ray fleet: one actor per GPU, or per share of a CPU, on every node. Nodes may join and leave during a run.

Every actor is bound to its node, so that a device's name says where its answers were generated.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmeval.errors import DeviceError
from swarmeval.hub import commit_of
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.weight_rules import weight_format
from swarmeval.workers.ray.cluster import Cluster
from swarmeval.workers.ray.nodes import (
    Inspection,
    Node,
    NodeReport,
    is_usable,
    name_for,
    required_packages,
    slots,
    unfit_reason,
)
from swarmeval.workers.ray.worker import RayWorker
from swarmeval.workers.replica_spec import ReplicaSpec

POLL_S = 2.0  # interval between two looks at the list of nodes
GATHER_PAUSES_S = (0.5, 1.0, 2.0, 0.0)  # between retries for listed but unusable nodes, which have just joined or left

log = logging.getLogger("swarmeval")

MakeSpec = Callable[[str, str], ReplicaSpec]  # (model, device as the worker sees it)


class RayFleet:
    """One RayWorker per device of the cluster, including devices of nodes that join later."""

    def __init__(
        self,
        cluster: Cluster,
        config: RunConfig,
        required_versions: Mapping[str, str],
        make_spec: MakeSpec,
        poll_s: float = POLL_S,
        adapters: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`required_versions` maps packages to the version that every node must have.

        `adapters` maps the adapters to the digests that their files must have there.
        """
        self.workers: list[RayWorker] = []
        self.nodes: dict[str, dict[str, object]] = {}  # nodes that took part, by name, as written to the manifest
        self.commit: str | None = None  # of the model on all nodes, if it is one of the hub
        self._cluster = cluster
        self._config = config
        self._required_versions = required_versions
        self._make_spec = make_spec
        self._poll_s = poll_s
        self._adapters = adapters or {}
        self._names: dict[str, str] = {}  # names of all nodes ever seen, by id
        self._alive: set[str] = set()  # ids of the nodes in use that are alive
        self._following: asyncio.Task[None] | None = None

    def gather(self) -> None:
        """Inspect every node and create its workers. Blocks. Raises DeviceError for the first unfit node."""
        for pause_s in GATHER_PAUSES_S:
            new = self._new(self._cluster.nodes())
            inspections = self._inspect(new)
            for problem in self._admit(new, inspections):
                raise DeviceError(problem)
            if None not in inspections:
                break
            time.sleep(pause_s)
        if not self.workers:
            processor = "GPU" if self._config.device == "cuda" and self._config.engine != "scripted" else "CPU"
            raise DeviceError(
                f"the Ray cluster has no node with a {processor}; add one with: ray start --address=HEAD:6379"
            )

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        await asyncio.to_thread(self._cluster.leave)

    async def _follow(self) -> None:
        """Watch for nodes that join or leave."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                nodes = await asyncio.to_thread(self._cluster.nodes)
            except DeviceError as error:
                log.warning("%s", error)
                continue
            for lost in self._alive - {node.id for node in nodes}:
                self._alive.discard(lost)
                log.warning("node %s: left the cluster", self._names[lost])
                for worker in self.workers:
                    if worker.slot.node.id == lost:
                        worker.lose_node()
            if new := self._new(nodes):
                for problem in self._admit(new, await asyncio.to_thread(self._inspect, new)):
                    log.warning("%s; this run does not use the node", problem)

    def _new(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """The usable nodes that were not seen before; gives each its name."""
        new = tuple(node for node in nodes if node.id not in self._names and is_usable(node, self._config))
        for node in new:
            self._names[node.id] = name_for(node, self._names.values())
        return new

    def _inspect(self, nodes: tuple[Node, ...]) -> tuple[Inspection, ...]:
        config = self._config
        model = {
            "model_id": _shared_path(config.model_id), "code": config.trust_remote_code,
            "weights": weight_format(config), "revision": config.model_revision,
        }  # fmt: skip
        return self._cluster.inspect(
            nodes, None if config.engine == "scripted" else model, required_packages(config), shared_adapters(config)
        )

    def _admit(self, nodes: tuple[Node, ...], inspections: tuple[Inspection, ...]) -> list[str]:
        """Create the workers of the fit nodes; return the reasons why others are unfit."""
        problems = []
        for node, inspection in zip(nodes, inspections, strict=True):
            name = self._names[node.id]
            if inspection is None:
                del self._names[node.id]  # the next poll treats it as new if it is still listed
                continue
            problem = (
                f"node {name}: {inspection}"
                if isinstance(inspection, str)
                else unfit_reason(name, inspection, self._required_versions, self._adapters)
                or self._other_commit(name, inspection)
            )
            if problem:
                problems.append(problem)
            elif isinstance(inspection, NodeReport):
                self._add(node, name, inspection)
        return problems

    def _other_commit(self, name: str, report: NodeReport) -> str | None:
        """One line if this node has another commit of the model than the nodes before it; None if all agree."""
        commit = commit_of(report.model)
        if self.workers and commit != self.commit:
            return f"node {name}: has commit {commit} of the model, other nodes {self.commit}; set model_revision"
        self.commit = commit
        return None

    def _add(self, node: Node, name: str, report: NodeReport) -> None:
        places = slots(node, name, report, self._config, os.environ)
        self.nodes[name] = {
            "id": node.id, "cpus": node.cpus, "gpus": node.gpus, "replicas": len(places), "model": report.model,
            "versions": dict(report.versions),
        }  # fmt: skip
        for slot in places:
            spec = self._make_spec(
                slot.model, slot.device.name if self._config.engine == "scripted" else slot.device.torch_device
            )
            worker = RayWorker(
                slot, self._cluster, spec, self._config.workers.timeout_s, self._config.workers.load_timeout_s
            )
            worker.on_placed = self._rename
            self.workers.append(worker)
        self._alive.add(node.id)

    def _rename(self, worker: RayWorker, gpus: list[str]) -> None:
        """Name a worker after the GPU that Ray assigned to it, swapping names with the worker that has the name."""
        if not worker.slot.gpus or worker.name.endswith("/cuda:all"):
            return
        name = f"{worker.name.rpartition('/')[0]}/{gpus[0]}" if gpus else worker.name
        for other in self.workers:
            if other is not worker and other.name == name:
                other.name = worker.name
        worker.name = name


def shared_adapters(config: RunConfig) -> dict[str, str]:
    """The folder or hub name of each adapter, as every node finds it."""
    return {name: _shared_path(source) for name, source in config.adapters.items() if source}


def _shared_path(name: str) -> str:
    """The name of a model or adapter on every node; a folder or file must have the same absolute path everywhere."""
    return str(Path(name).absolute()) if Path(name).exists() else name
