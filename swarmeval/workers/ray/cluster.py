"""A Ray cluster: join it, see its nodes, look at one, put an actor on one. The only home of ray.

Calls that wait for the cluster say so; a coordinator makes them in a thread.
"""

import contextlib
import logging
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarmeval.errors import DeviceError, WorkerDied
from swarmeval.location import command, own_paths
from swarmeval.secrets import scrub
from swarmeval.workers.ray.node_actor import ReplicaActor, inspect_node
from swarmeval.workers.ray.nodes import Inspection, Node, NodeReport, ReplicaSlot

ANSWER_LIMIT_S = 5.0  # for the head to take a connection: Ray itself would try for minutes, and then end this process
INSPECT_LIMIT_S = 180.0  # for a node to unpack our code, start a process and look around
CALLS = 1000  # of one actor at once: as many batches as are handed to it, and one receive()
MAX_REASON = 300  # letters of Ray's own words
INSTALL = "in the checkout: pip install '.[ray]'"
START = "start one with: ray start --head"


class Cluster:
    """This process's membership in a cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @classmethod
    def join(cls, address: str, environ: Mapping[str, str]) -> "Cluster":
        """Become a member, and ship our code to the nodes; waits. Raises DeviceError.

        `address` is that of the head, or "auto": RAY_ADDRESS, else the cluster that this machine belongs to.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray warns that it will be so
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import ray
                from ray._private import worker
        except ImportError:
            raise DeviceError(f"fleet is 'ray' but the package ray is not installed; {INSTALL}") from None
        # Nodes that come and go are ours to tell. There is no public switch, and log_to_driver is about actors only.
        worker._worker_logs_enabled = False
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        head = environ.get("RAY_ADDRESS") or address if address == "auto" else address
        check_reachable(head)
        with _code_copy() as code:
            try:
                ray.init(
                    address=head,
                    log_to_driver=False,
                    configure_logging=False,
                    runtime_env={"working_dir": str(code)},
                )
            except ConnectionError:
                raise DeviceError(f"ray.address is {head!r}: no Ray cluster is there; {START}") from None
            except (RuntimeError, ValueError) as error:  # other versions of Ray or Python, above all
                reason = scrub(" ".join(str(error).split()))[:MAX_REASON]  # hidden first: half a secret is not known
                raise DeviceError(f"ray.address is {head!r}: {reason}") from None
        return cls(ray)

    def leave(self) -> None:
        """Leave the cluster, which ends every actor of ours; waits."""
        self._ray.shutdown()

    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are alive, in the order of their ids; waits. Raises DeviceError."""
        try:
            known = self._ray.nodes()
        except (self._ray.exceptions.RayError, RuntimeError) as error:
            raise DeviceError(f"the Ray cluster cannot say which nodes it has: {_line(error)}") from None
        return tuple(
            Node(
                node["NodeID"],
                node["NodeManagerHostname"] or node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in sorted(known, key=lambda node: str(node["NodeID"]))
            if node["Alive"]
        )

    def inspect(self, nodes: tuple[Node, ...], model: str | None, packages: tuple[str, ...]) -> tuple[Inspection, ...]:
        """What is on each of these nodes; waits."""
        remote = self._ray.remote(inspect_node)
        references = [
            remote.options(num_cpus=0, max_retries=0, scheduling_strategy=self._on(node)).remote(model, packages)
            for node in nodes
        ]
        self._ray.wait(references, num_returns=len(references), timeout=INSPECT_LIMIT_S)
        return tuple(self._report_of(reference) for reference in references)

    def actor(self, slot: ReplicaSlot) -> "Actor":
        """A new actor in this place, which Ray starts as soon as there is room; waits a little."""
        handle = (
            self._ray.remote(ReplicaActor)
            .options(
                num_cpus=slot.cpus,
                num_gpus=slot.gpus,
                max_restarts=0,  # the dispatch restarts, and knows when not to
                max_task_retries=0,
                max_concurrency=CALLS,
                scheduling_strategy=self._on(slot.node),
            )
            .remote()
        )
        return Actor(handle, dict(slot.device.env), self._ray)

    def _report_of(self, reference: Any) -> Inspection:
        exceptions = self._ray.exceptions
        try:
            report = self._ray.get(reference, timeout=0)
        except (exceptions.TaskUnschedulableError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError):
            return None  # Ray lists a dead node for up to 15 s, and a new one before it can be used
        except exceptions.GetTimeoutError:
            return f"does not answer within {INSPECT_LIMIT_S:g} s"
        except exceptions.RayError as error:
            return _line(error)
        return NodeReport(**report)

    def _on(self, node: Node) -> Any:
        strategies = self._ray.util.scheduling_strategies
        return strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)


class Actor:
    """One ReplicaActor from outside. Every call raises WorkerDied when it has ended or cannot be reached."""

    def __init__(self, handle: Any, env: dict[str, str], ray: Any) -> None:
        self._handle = handle
        self._env = env  # Ray could set it, in a process started for nothing else
        self._ray = ray

    async def begin(self, start: bytes) -> dict[str, Any]:
        """Give it its Start, once it runs; see ReplicaActor.begin. Raises DeviceError when it never will."""
        place: dict[str, Any] = await self._result(self._handle.begin.remote(start, self._env))
        return place

    async def receive(self) -> list[bytes]:
        """The messages of the replica since the last call; waits for at least one message."""
        messages: list[bytes] = await self._result(self._handle.receive.remote())
        return messages

    def send(self, message: bytes) -> None:
        """Put a message on its way; that it did not arrive shows in receive()."""
        self._handle.send.remote(message)

    def kill(self) -> None:
        """End it, whatever it does; waits a little. Idempotent."""
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._handle)

    async def _result(self, reference: Awaitable[Any]) -> Any:
        errors = self._ray.exceptions
        try:
            return await reference
        except errors.ActorUnschedulableError:
            raise DeviceError("its node is gone, or no longer has what it takes") from None
        except errors.RayError as error:
            raise WorkerDied(_line(error)) from None


def check_reachable(address: str) -> None:
    """Raises DeviceError where nothing listens, or where it is no address for us."""
    if address.startswith("ray://"):
        program = command().removeprefix("python ")
        raise DeviceError(
            f"ray.address is {address!r}, which is for remote clients; run {program} on a node, with 'auto'"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # "auto": Ray knows by itself what runs here
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_LIMIT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise DeviceError(f"ray.address is {address!r}: no Ray cluster answers there ({error}); {START}") from None


@contextmanager
def _code_copy() -> Iterator[Path]:
    """A folder with this code and nothing else, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="swarmeval-") as folder:
        copy = Path(folder) / "code"
        copy.mkdir()
        skipped = shutil.ignore_patterns("__pycache__", ".*")
        for path in own_paths():
            if path.is_dir():
                shutil.copytree(path, copy / path.name, ignore=skipped)
            else:
                shutil.copy(path, copy)
        yield copy


def _line(error: Exception) -> str:
    """The line of Ray's many that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "because" in line or "schedul" in line), lines[0])[:300]
