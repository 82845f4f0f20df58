"""What runs on a node of a Ray cluster: an inspection of what is installed, and the actor that holds one replica.

Sent there by Ray, by name; imports nothing at once but the standard library, so that a node without our packages can
say so. Knows no Ray: bytes come in and go out.
"""

import asyncio
import os
import platform
import queue
import threading
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarmeval.workers.wire import FromWorker, Start, ToWorker


def inspect_node(model: str | None, packages: tuple[str, ...]) -> dict[str, object]:
    """What a replica would find here: `versions` of Python and packages, the `model` as it is found, or a `problem`.

    The hub is not asked: a model is here before the run, or it is not. None is a run without a model.
    """
    versions = {"python": platform.python_version(), **{name: _version(name) for name in packages}}
    report: dict[str, object] = {"versions": versions, "model": "scripted", "problem": ""}
    if model is not None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import model_loader
            from swarmeval.errors import ModelUnavailable

            try:
                report["model"] = model_loader.locate(model, progress=False)
            except ModelUnavailable as error:
                report["problem"] = str(error)
        except ImportError:
            pass  # the versions say what is missing
    return report


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class ReplicaActor:
    """One replica in a thread; its event loop takes what the coordinator sends and gives what the replica says."""

    def __init__(self) -> None:
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outgoing: list[bytes] = []
        self._has_outgoing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def begin(self, start: bytes, env: dict[str, str]) -> dict[str, object]:
        """Begin to load what a Start asks for; gives where: `pid` and `gpus`, the physical names of those it sees.

        `env` is laid over the environment, which no library has read yet.
        """
        os.environ.update(env)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, args=(start,), name="replica", daemon=True).start()
        return {"pid": os.getpid(), "gpus": _gpus(os.environ)}

    async def send(self, message: bytes) -> None:
        """Hand the replica a message."""
        self._incoming.put(message)

    async def receive(self) -> list[bytes]:
        """All messages of the replica since the last call, at least one. One caller at a time."""
        await self._has_outgoing.wait()
        self._has_outgoing.clear()
        messages, self._outgoing = self._outgoing, []
        return messages

    def emit(self, message: bytes) -> None:
        """Queue a message for receive(); called from the replica's thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._queue_outgoing, message)

    def take(self, block: bool) -> bytes | None:
        """The next message for the replica, None when there is none and nobody waits for it."""
        try:
            return self._incoming.get(block)
        except queue.Empty:
            return None

    def _queue_outgoing(self, message: bytes) -> None:
        self._outgoing.append(message)
        self._has_outgoing.set()

    def _work(self, body: bytes) -> None:
        from swarmeval.workers.serve_loop import load, serve, traced
        from swarmeval.workers.wire import Fatal, read_to_worker

        connection = QueueConnection(self)
        try:
            start: Start = read_to_worker(body)  # type: ignore[assignment]  # begin() is given nothing else
            with traced(None) as phases:
                replica = load(start, connection, phases)
                if replica is not None:
                    serve(replica, connection, phases)
        except BaseException as error:
            # The one place where every fault is caught: its reason must reach the coordinator.
            first_line = (str(error).splitlines() or [""])[0]
            connection.send(Fatal(f"{type(error).__name__}: {first_line}"))
            raise


class QueueConnection:
    """The worker's end of its connection to the coordinator, for swarmeval.workers.serve_loop."""

    def __init__(self, actor: ReplicaActor) -> None:
        self._actor = actor

    def send(self, message: "FromWorker") -> None:
        from swarmeval.workers.wire import pack

        self._actor.emit(pack(message))

    def arrived(self, block: bool) -> Iterator["ToWorker"]:
        """What has arrived; with `block`, at least one message."""
        from swarmeval.workers.wire import read_to_worker

        while (body := self._actor.take(block)) is not None:
            yield read_to_worker(body)
            block = False


def _gpus(environ: Mapping[str, str]) -> list[str]:
    """What Ray lets this process see, by physical index where NVML knows it: ["cuda:3"]."""
    from gpu_monitor import list_devices, visible

    visible_ids = environ.get("CUDA_VISIBLE_DEVICES", "")
    devices = visible(list_devices(), visible_ids) if visible_ids else ()
    return [f"cuda:{gpu.place}" for gpu in devices] or [f"cuda:{entry}" for entry in visible_ids.split(",") if entry]
