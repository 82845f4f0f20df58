"""The seam between the coordinator and its caller."""

import time
from typing import Protocol

from swarmeval.records import Attempt, Status
from swarmeval.requests import ReplicaInfo, Request


class RunContext(Protocol):
    """What a session offers its coordinator. No call may block."""

    def request(self, k: int, repairs: Attempt | None) -> Request:
        """The request for job number `k`, and for what it repairs; called after the first replica_ready()."""

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        """Note that a replica is loaded. Raises UserError when it does not fit the run."""

    def publish(self, status: Status) -> None:
        """Show the state of the run; called once a second."""

    def now(self) -> float:
        """Unix time, which may jump: for records only."""
        return time.time()
