"""A worker of a Ray cluster as the coordinator sees it: an actor on one node, and the link to the one that lives now.

The worker of a node that is gone knows that it need not start again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from swarmeval.errors import DeviceError, SwarmevalError, WorkerDied
from swarmeval.requests import Progress, ReplicaInfo
from swarmeval.workers.local import IDLE, USELESS_TO_RETRY
from swarmeval.workers.pending import Asked, Asking
from swarmeval.workers.ray.cluster import Actor, Cluster
from swarmeval.workers.ray.nodes import Slot
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.wire import (
    Cancel,
    Drain,
    Fatal,
    FromWorker,
    LoadFailed,
    Ready,
    Start,
    Submit,
    pack,
    read_from_worker,
)

NO_ROOM_S = 60.0  # after which a worker that still waits for its place says so

log = logging.getLogger("swarmeval")


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
