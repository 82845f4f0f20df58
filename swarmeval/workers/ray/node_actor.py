"""Code that runs on a Ray node: the inspection of the node, and the actor that holds one replica.

Ray imports it by name on the node. At import it needs only the standard library, so that a node without our packages
can report that. Does not know about Ray: it exchanges bytes.
"""

import asyncio
import os
import platform
import queue
import threading
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarmeval.workers.wire import FromWorker, Start, ToWorker


def inspect_node(
    model: Mapping[str, Any] | None, packages: tuple[str, ...], adapters: Mapping[str, str]
) -> dict[str, object]:
    """Report the `versions` of Python and packages, the located `model` and the digests of `adapters`, or a `problem`.

    Does not contact the hub: model and adapters must be on the node before the run. `model` holds the arguments of
    model_loader.locate; None in a run without a model. `adapters` maps names to folders or hub names.
    """
    versions = {"python": platform.python_version(), **{name: _version(name) for name in packages}}
    report: dict[str, object] = {"versions": versions, "model": "scripted", "problem": "", "adapters": {}}
    if model is not None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import model_loader
            from swarmeval.engine.adapters import files
            from swarmeval.errors import ModelUnavailable

            try:
                report["model"] = model_loader.locate(progress=False, **model)
                found = [files.read(name, files.located(name, at, progress=False)) for name, at in adapters.items()]
                report["adapters"] = {adapter.name: adapter.digests() for adapter in found}
            except ModelUnavailable as error:
                report["problem"] = str(error)
        except ImportError:
            pass  # the versions show which package is missing
    return report


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class ReplicaActor:
    """Runs one replica in a thread. The actor's event loop exchanges messages between it and the coordinator."""

    def __init__(self) -> None:
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outgoing: list[bytes] = []
        self._has_outgoing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def begin(self, start: bytes, env: dict[str, str]) -> dict[str, object]:
        """Start to load the replica of a Start message; return `pid` and `gpus`, the physical names of its GPUs.

        `env` is added to the environment, before any library reads it.
        """
        os.environ.update(env)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, args=(start,), name="replica", daemon=True).start()
        return {"pid": os.getpid(), "gpus": _gpus(os.environ)}

    async def send(self, message: bytes) -> None:
        """Queue a message for the replica."""
        self._incoming.put(message)

    async def receive(self) -> list[bytes]:
        """Wait for messages of the replica; return all since the last call. One caller at a time."""
        await self._has_outgoing.wait()
        self._has_outgoing.clear()
        messages, self._outgoing = self._outgoing, []
        return messages

    def emit(self, message: bytes) -> None:
        """Queue a message for receive(). The replica's thread calls this."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._queue_outgoing, message)

    def take(self, block: bool) -> bytes | None:
        """The next message for the replica; None if there is none and `block` is false."""
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
            start: Start = read_to_worker(body)  # type: ignore[assignment]  # begin() gets no other message
            with traced(None) as phases:
                replica = load(start, connection, phases)
                if replica is not None:
                    serve(replica, connection, phases)
        except BaseException as error:
            # Catches everything, because the reason must reach the coordinator.
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
        """Yield the messages that have arrived; with `block`, wait for at least one."""
        from swarmeval.workers.wire import read_to_worker

        while (body := self._actor.take(block)) is not None:
            yield read_to_worker(body)
            block = False


def _gpus(environ: Mapping[str, str]) -> list[str]:
    """The GPUs that Ray assigned to this process, by physical index if NVML knows it: ["cuda:3"]."""
    from gpu_monitor import list_devices, visible

    visible_ids = environ.get("CUDA_VISIBLE_DEVICES", "")
    devices = visible(list_devices(), visible_ids) if visible_ids else ()
    return [f"cuda:{gpu.place}" for gpu in devices] or [f"cuda:{entry}" for entry in visible_ids.split(",") if entry]
