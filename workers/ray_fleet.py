"""One actor per GPU, or per share of a CPU, on every node of a Ray cluster; nodes may come and go during a run.

Every actor is bound to its node, and Ray spreads nothing by itself: a device's name says where its answers were made,
and the worker of a node that is gone knows that it need not start again.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.errors import DeviceError, SwarmevalError, WorkerDied
from bench.settings import RunConfig
from workers.asked import Asked, Asking
from workers.local import IDLE, USELESS_TO_RETRY
from workers.protocol import Progress, ReplicaInfo
from workers.ray_cluster import Actor, Cluster
from workers.ray_nodes import Found, Look, Node, Slot, named, needed, slots, unfit, useful
from workers.replica_spec import ReplicaSpec
from workers.wire import Cancel, Drain, Fatal, FromWorker, LoadFailed, Ready, Start, Submit, pack, read_from_worker

LOOK_AROUND_S = 2.0  # how often a fleet asks which nodes there are
GATHER_PAUSES_S = (0.5, 1.0, 2.0, 0.0)  # for nodes that Ray lists and cannot use: they have just come, or gone
NO_ROOM_S = 60.0  # after which a worker that still waits for its place says so

log = logging.getLogger("swarmeval")

MakeSpec = Callable[[str, str], ReplicaSpec]  # (model, device as the worker sees it)


class RayWorker(Asking):
    """One actor on one node; a new one at each start."""

    def __init__(self, slot: Slot, cluster: Cluster, spec: ReplicaSpec, silence_s: float, load_s: float) -> None:
        """`silence_s` and `load_s` bound how long a busy or a loading worker may say nothing."""
        self.name = slot.device.name
        self.pid: int | None = None  # none that means anything on this machine
        self.node_pid: int | None = None  # of the actor's process, on its node
        self.progress = IDLE
        self.slot = slot
        self.settled: Callable[[RayWorker, list[str]], None] = lambda worker, gpus: None
        self._cluster = cluster
        self._spec = spec
        self._silence_s = silence_s
        self._load_s = load_s
        self._lives = 0
        self._gone = False
        self._link: _Link | None = None

    @property
    def running(self) -> bool:
        return self._link is not None and self._link.listening and self._link.asked.death is None

    async def start(self) -> ReplicaInfo:
        """Have an actor made and its replica loaded. Raises WorkerDied, ModelUnavailable, or DeviceError."""
        await self.stop()
        self._check_there()
        life, self._lives = self._lives, self._lives + 1
        self._link = link = _Link(self.name, await asyncio.to_thread(self._cluster.actor, self.slot))
        try:
            async with asyncio.timeout(self._load_s):
                where = await self._begun(link, Start(self._spec, life))
                self.settled(self, where["gpus"])
                self.node_pid = where["pid"]
                log.info("%s: loads in process %d of its node", self.name, self.node_pid)
                first = await link.first()
        except TimeoutError:
            await self.stop()
            raise WorkerDied(f"{self.name}: did not load within {self._load_s:g} s (load_timeout_s)") from None
        except WorkerDied as death:
            await self.stop()
            self._check_there()
            raise WorkerDied(f"{self.name}: worker died while loading ({death})") from None
        except DeviceError as error:
            raise DeviceError(f"{self.name}: {error}") from None
        if isinstance(first, LoadFailed):
            await self.stop()
            raise USELESS_TO_RETRY.get(first.kind, WorkerDied)(f"{self.name}: {first.reason}")
        link.listen(self, self._silence_s)
        return first.info

    def life(self) -> Asked | None:
        return None if self._link is None else self._link.asked

    async def drain(self) -> None:
        """Make the replica forget what it has not begun; the generate() calls end without it."""
        if self.running and self._link is not None:
            self._link.send(Drain())

    async def stop(self) -> None:
        """Kill the actor."""
        link, self._link = self._link, None
        self.progress, self.node_pid = IDLE, None
        if link is not None:
            await link.close()

    def lose(self) -> None:
        """Its node has left the cluster: what it was asked is unanswered, and it does not start again."""
        self._gone = True
        if self._link is not None:
            self._link.asked.die(WorkerDied(f"{self.name}: its node left the cluster"))

    def _check_there(self) -> None:
        if self._gone:
            raise DeviceError(f"{self.name}: its node left the cluster")

    async def _begun(self, link: "_Link", start: Start) -> dict[str, Any]:
        """Where a new actor is, once it runs: see ReplicaActor.begin."""
        beginning = asyncio.ensure_future(link.actor.begin(pack(start)))
        try:
            done, _ = await asyncio.wait([beginning], timeout=NO_ROOM_S)
            if not done:
                log.warning("%s: still waits for its place on the node; does something else use it?", self.name)
            return await beginning
        finally:
            beginning.cancel()


class _Link:
    """A living actor, and what it was asked."""

    def __init__(self, name: str, actor: Actor) -> None:
        self.actor = actor
        self.asked = Asked(self.send)
        self.listening = False
        self._name = name
        self._heard: list[FromWorker] = []  # after the first word, before anybody listens
        self._tasks: list[asyncio.Task[None]] = []

    async def first(self) -> Ready | LoadFailed:
        """How the loading went."""
        while True:
            for number, message in enumerate(said := await self._hear()):
                if isinstance(message, Fatal):
                    raise WorkerDied(message.reason)
                if isinstance(message, Ready | LoadFailed):
                    self._heard = said[number + 1 :]
                    return message

    def listen(self, worker: RayWorker, silence_s: float) -> None:
        """From now on hand every message to whom it concerns."""
        self.listening = True
        self._tasks = [asyncio.create_task(self._read(worker)), asyncio.create_task(self._watch(silence_s))]

    def send(self, message: Submit | Cancel | Drain) -> None:
        self.actor.tell(pack(message))

    async def close(self) -> None:
        """Kill the actor, end the tasks."""
        await asyncio.to_thread(self.actor.kill)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.asked.die(WorkerDied(f"{self._name}: was stopped"))

    async def _hear(self) -> list[FromWorker]:
        return [read_from_worker(body) for body in await self.actor.hear()]

    async def _read(self, worker: RayWorker) -> None:
        try:
            said = self._heard
            while True:
                for message in said:
                    if isinstance(message, Fatal):
                        raise WorkerDied(message.reason)
                    self.asked.hear(message)
                    if isinstance(message, Progress):
                        worker.progress = message
                said = await self._hear()
        except (SwarmevalError, msgspec.DecodeError) as error:
            self.asked.die(WorkerDied(f"{self._name}: worker died while generating ({error})"))
            await asyncio.to_thread(self.actor.kill)

    async def _watch(self, silence_s: float) -> None:
        """End a worker that has work and says nothing."""
        await self.asked.silence(silence_s)
        self.asked.die(WorkerDied(f"{self._name}: said nothing for {silence_s:g} s (worker_timeout_s)"))
        await asyncio.to_thread(self.actor.kill)


class RayFleet:
    """A RayWorker per device of the cluster, and those of the nodes that join."""

    def __init__(
        self,
        cluster: Cluster,
        config: RunConfig,
        ours: Mapping[str, str],
        make_spec: MakeSpec,
        look_around_s: float = LOOK_AROUND_S,
    ) -> None:
        """`ours` are the versions that every node must have."""
        self.workers: list[RayWorker] = []
        self.nodes: dict[str, dict[str, object]] = {}  # that took part, by name, as the manifest has them
        self._cluster = cluster
        self._config = config
        self._ours = ours
        self._make_spec = make_spec
        self._look_around_s = look_around_s
        self._names: dict[str, str] = {}  # of every node ever seen, by id
        self._alive: set[str] = set()  # ids of those that had a look taken at them and are there
        self._following: asyncio.Task[None] | None = None

    def gather(self) -> None:
        """Take a look at every node and make its workers; waits. Raises DeviceError for the first that is unfit."""
        for pause_s in GATHER_PAUSES_S:
            new = self._new(self._cluster.nodes())
            looks = self._look(new)
            for problem in self._admit(new, looks):
                raise DeviceError(problem)
            if None not in looks:
                break
            time.sleep(pause_s)
        if not self.workers:
            what = "GPU" if self._config.device == "cuda" and self._config.engine != "scripted" else "CPU"
            raise DeviceError(f"the Ray cluster has no node with a {what}; add one with: ray start --address=HEAD:6379")

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
        """Notice nodes that come and go."""
        while True:
            await asyncio.sleep(self._look_around_s)
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
                        worker.lose()
            if new := self._new(nodes):
                for problem in self._admit(new, await asyncio.to_thread(self._look, new)):
                    log.warning("%s; it takes no part in this run", problem)

    def _new(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """Those never seen before, which get their names."""
        new = tuple(node for node in nodes if node.id not in self._names and useful(node, self._config))
        for node in new:
            self._names[node.id] = named(node, self._names.values())
        return new

    def _look(self, nodes: tuple[Node, ...]) -> tuple[Look, ...]:
        model = None if self._config.engine == "scripted" else _everywhere(self._config.model_id)
        return self._cluster.look(nodes, model, needed(self._config))

    def _admit(self, nodes: tuple[Node, ...], looks: tuple[Look, ...]) -> list[str]:
        """Make the workers of those that are fit; gives why the others are not."""
        problems = []
        for node, found in zip(nodes, looks, strict=True):
            name = self._names[node.id]
            if found is None:
                del self._names[node.id]  # whoever looks around sees it anew, should it come
                continue
            problem = f"node {name}: {found}" if isinstance(found, str) else unfit(name, found, self._ours)
            if problem:
                problems.append(problem)
            elif isinstance(found, Found):
                self._add(node, name, found)
        return problems

    def _add(self, node: Node, name: str, found: Found) -> None:
        made = slots(node, name, found, self._config, os.environ)
        self.nodes[name] = {
            "id": node.id, "cpus": node.cpus, "gpus": node.gpus, "replicas": len(made), "model": found.model,
            "versions": dict(found.versions),
        }  # fmt: skip
        for slot in made:
            spec = self._make_spec(
                slot.model, slot.device.name if self._config.engine == "scripted" else slot.device.torch_device
            )
            worker = RayWorker(slot, self._cluster, spec, self._config.worker_timeout_s, self._config.load_timeout_s)
            worker.settled = self._settle
            self.workers.append(worker)
        self._alive.add(node.id)

    def _settle(self, worker: RayWorker, gpus: list[str]) -> None:
        """Name a worker by the GPU that Ray gave it; the one that had this name, and does not run, takes its own."""
        if not worker.slot.gpus or worker.name.endswith("/cuda:all"):
            return
        name = f"{worker.name.rpartition('/')[0]}/{gpus[0]}" if gpus else worker.name
        for other in self.workers:
            if other is not worker and other.name == name:
                other.name = worker.name
        worker.name = name


def _everywhere(model_id: str) -> str:
    """What the model is called on every node: a folder has the same path there as here."""
    return str(Path(model_id).absolute()) if Path(model_id).is_dir() else model_id
