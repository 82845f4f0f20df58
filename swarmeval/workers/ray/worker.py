"""The coordinator's side of a Ray worker: an actor on one node and the transport to it.

A worker does not restart once its node has left the cluster.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from swarmeval.errors import DeviceError, WorkerDied
from swarmeval.requests import ReplicaInfo
from swarmeval.workers.link import LinkedWorker, Transport
from swarmeval.workers.ray.cluster import Actor, Cluster
from swarmeval.workers.ray.nodes import ReplicaSlot
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.wire import Fatal, FromWorker, Start, ToWorker, pack, read_from_worker

NO_ROOM_S = 60.0  # wait for resources before a warning is logged

log = logging.getLogger("swarmeval")


class RayWorker(LinkedWorker):
    """A worker on one node, with a new actor at each start. `pid` stays None: the process is on another machine."""

    def __init__(self, slot: ReplicaSlot, cluster: Cluster, spec: ReplicaSpec, silence_s: float, load_s: float) -> None:
        super().__init__(slot.device.name, spec, silence_s, load_s)
        self.node_pid: int | None = None  # of the actor's process, on its node
        self.slot = slot
        self.on_placed: Callable[[RayWorker, list[str]], None] = lambda worker, gpus: None
        self._cluster = cluster
        self._node_gone = False

    async def start(self) -> ReplicaInfo:
        """Create an actor and load its replica. Raises WorkerDied, ModelUnavailable or DeviceError."""
        try:
            return await super().start()
        except WorkerDied:
            self._check_node()
            raise

    async def stop(self) -> None:
        """Kill the actor."""
        self.node_pid = None
        await super().stop()

    def lose_node(self) -> None:
        """Note that the node has left the cluster: fail the pending requests and refuse to start again."""
        self._node_gone = True
        if self._link is not None:
            self._link.pending.die(WorkerDied(f"{self.name}: its node left the cluster"))

    def _check_node(self) -> None:
        if self._node_gone:
            raise DeviceError(f"{self.name}: its node left the cluster")

    async def _open(self) -> "ActorTransport":
        self._check_node()
        return ActorTransport(await asyncio.to_thread(self._cluster.actor, self.slot))

    async def _begin(self, transport: Transport, start: Start) -> None:
        assert isinstance(transport, ActorTransport)
        try:
            place = await self._placed(transport.actor, start)
        except WorkerDied as death:
            raise WorkerDied(f"{self.name}: worker died while loading ({death})") from None
        except DeviceError as error:
            raise DeviceError(f"{self.name}: {error}") from None
        self.on_placed(self, place["gpus"])
        self.node_pid = place["pid"]
        log.info("%s: loading in process %d on its node", self.name, self.node_pid)

    async def _placed(self, actor: Actor, start: Start) -> dict[str, Any]:
        """Wait until a new actor runs; return its location (see ReplicaActor.begin)."""
        beginning = asyncio.ensure_future(actor.begin(pack(start)))
        try:
            done, _ = await asyncio.wait([beginning], timeout=NO_ROOM_S)
            if not done:
                log.warning("%s: still waiting for resources on its node; are other programs using them?", self.name)
            return await beginning
        finally:
            beginning.cancel()


class ActorTransport:
    """The transport to a running actor."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self._fatal = ""  # why the replica ended; the actor itself is still alive then

    def send(self, message: ToWorker) -> None:
        self.actor.send(pack(message))

    async def receive(self) -> Sequence[FromWorker]:
        while not self._fatal:
            messages = await self._next_messages()
            self._fatal = next((message.reason for message in messages if isinstance(message, Fatal)), "")
            if others := [message for message in messages if not isinstance(message, Fatal)]:
                return others
        raise WorkerDied(self._fatal)

    async def kill(self) -> None:
        await asyncio.to_thread(self.actor.kill)

    async def close(self) -> None:
        await self.kill()

    async def _next_messages(self) -> list[FromWorker]:
        try:
            return [read_from_worker(body) for body in await self.actor.receive()]
        except DeviceError as error:
            raise WorkerDied(str(error)) from None
