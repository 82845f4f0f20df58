"""Access to a Ray cluster: join it, list and inspect its nodes, start actors. The only module that imports ray.

Methods that block are marked "Blocks."; the coordinator calls them in a thread.
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

ANSWER_LIMIT_S = 5.0  # to connect to the head: Ray itself would retry for minutes and then exit this process
INSPECT_LIMIT_S = 180.0  # for a node to unpack our code, start a process and inspect itself
CALLS = 1000  # concurrent calls per actor: one per batch in progress, and one receive()
MAX_REASON = 300  # characters of an error message from Ray
INSTALL = "in the checkout: pip install '.[ray]'"
START = "start one with: ray start --head"


class Cluster:
    """This process's membership in a cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @classmethod
    def join(cls, address: str, environ: Mapping[str, str]) -> "Cluster":
        """Join a cluster and ship our code to its nodes. Blocks. Raises DeviceError.

        `address` is the head's address. "auto" means RAY_ADDRESS or, if unset, the cluster of this machine.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the future default; avoids Ray's warning
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import ray
                from ray._private import worker
        except ImportError:
            raise DeviceError(f"fleet is 'ray' but the package ray is not installed; {INSTALL}") from None
        # RayFleet reports joining and lost nodes itself. Ray has no public switch: log_to_driver covers actors only.
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
                raise DeviceError(f"ray.address is {head!r}: no Ray cluster found; {START}") from None
            except (RuntimeError, ValueError) as error:  # mostly a different version of Ray or Python
                reason = scrub(" ".join(str(error).split()))[:MAX_REASON]  # scrub first: a cut secret is not recognised
                raise DeviceError(f"ray.address is {head!r}: {reason}") from None
        return cls(ray)

    def leave(self) -> None:
        """Leave the cluster, which ends all our actors. Blocks."""
        self._ray.shutdown()

    def nodes(self) -> tuple[Node, ...]:
        """The live nodes, ordered by id. Blocks. Raises DeviceError."""
        try:
            known = self._ray.nodes()
        except (self._ray.exceptions.RayError, RuntimeError) as error:
            raise DeviceError(f"the Ray cluster failed to list its nodes: {_line(error)}") from None
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

    def inspect(
        self,
        nodes: tuple[Node, ...],
        model: Mapping[str, object] | None,
        packages: tuple[str, ...],
        adapters: Mapping[str, str],
    ) -> tuple[Inspection, ...]:
        """Inspect each of these nodes. Blocks."""
        remote = self._ray.remote(inspect_node)
        references = [
            remote.options(num_cpus=0, max_retries=0, scheduling_strategy=self._on(node)).remote(
                model, packages, adapters
            )
            for node in nodes
        ]
        self._ray.wait(references, num_returns=len(references), timeout=INSPECT_LIMIT_S)
        return tuple(self._report_of(reference) for reference in references)

    def actor(self, slot: ReplicaSlot) -> "Actor":
        """Create an actor in this slot; Ray starts it once the node has free resources. Blocks briefly."""
        handle = (
            self._ray.remote(ReplicaActor)
            .options(
                num_cpus=slot.cpus,
                num_gpus=slot.gpus,
                max_restarts=0,  # the scheduler restarts workers and knows when not to
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
            return None  # Ray lists dead nodes for up to 15 s, and new nodes before they are usable
        except exceptions.GetTimeoutError:
            return f"did not answer within {INSPECT_LIMIT_S:g} s"
        except exceptions.RayError as error:
            return _line(error)
        return NodeReport(**report)

    def _on(self, node: Node) -> Any:
        strategies = self._ray.util.scheduling_strategies
        return strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)


class Actor:
    """A handle to one ReplicaActor. Its coroutines raise WorkerDied if the actor has ended or is unreachable."""

    def __init__(self, handle: Any, env: dict[str, str], ray: Any) -> None:
        self._handle = handle
        self._env = env  # set by begin(): Ray would start a dedicated process to set it
        self._ray = ray

    async def begin(self, start: bytes) -> dict[str, Any]:
        """Wait until the actor runs and call ReplicaActor.begin. Raises DeviceError if it can never run."""
        place: dict[str, Any] = await self._result(self._handle.begin.remote(start, self._env))
        return place

    async def receive(self) -> list[bytes]:
        """Wait for messages of the replica; return all since the last call."""
        messages: list[bytes] = await self._result(self._handle.receive.remote())
        return messages

    def send(self, message: bytes) -> None:
        """Send a message without waiting; a failure shows in receive()."""
        self._handle.send.remote(message)

    def kill(self) -> None:
        """Kill the actor. Blocks briefly. Idempotent."""
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._handle)

    async def _result(self, reference: Awaitable[Any]) -> Any:
        errors = self._ray.exceptions
        try:
            return await reference
        except errors.ActorUnschedulableError:
            raise DeviceError("its node is gone or no longer has enough resources") from None
        except errors.RayError as error:
            raise WorkerDied(_line(error)) from None


def check_reachable(address: str) -> None:
    """Raise DeviceError if nothing listens at the address or it is a Ray Client address."""
    if address.startswith("ray://"):
        program = command().removeprefix("python ")
        raise DeviceError(
            f"ray.address is {address!r}, but Ray Client is not supported; "
            f"run {program} on a node of the cluster, with ray.address: auto"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # "auto": Ray finds the local cluster itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_LIMIT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise DeviceError(f"ray.address is {address!r}: no Ray cluster answers there ({error}); {START}") from None


@contextmanager
def _code_copy() -> Iterator[Path]:
    """Copy this code, without anything else, into a temporary folder for the duration of the context."""
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
    """The line of Ray's error message that states the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "because" in line or "schedul" in line), lines[0])[:300]
