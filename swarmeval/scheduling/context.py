"""The interface between the coordinator and its session."""

import time
from typing import Protocol

from swarmeval.records import Attempt, Completion, Failure, Status, Verdict
from swarmeval.requests import ReplicaInfo, Request


class RunContext(Protocol):
    """The services of a session for its coordinator. No call may block."""

    prefill: str = ""  # text that the model gets as the beginning of each reply
    prefill_thought: str = ""  # and of the thought before it

    def request(self, k: int, repairs: Attempt | None) -> Request:
        """Build the request for job number `k`, given the attempt that it repairs. Called after replica_ready()."""

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        """Record that a replica is loaded. Raises UserError if it does not fit the run."""

    def publish(self, status: Status) -> None:
        """Publish the state of the run. Called once per second."""

    def note_verdict(self, completion: Completion, verdict: Verdict) -> None:
        """Receive an answer whose verdict has just been recorded."""
        return

    def note_failure(self, failure: Failure) -> None:
        """Receive a failure that has just been recorded."""
        return

    def now(self) -> float:
        """Unix time, which may jump: for records only."""
        return time.time()
