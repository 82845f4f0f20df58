"""A minimal run context for a coordinator: chat requests, without status or progress display."""

from swarmeval.records import Attempt, Status
from swarmeval.requests import ReplicaInfo, Request
from swarmeval.runs.plan import Plan
from swarmeval.runs.prompts import make_request
from swarmeval.scheduling.context import RunContext
from swarmeval.settings.run_config import RunConfig


class PlainContext(RunContext):
    def __init__(self, plan: Plan, config: RunConfig) -> None:
        self._plan = plan
        self._config = config

    def request(self, k: int, repairs: Attempt | None) -> Request:
        return make_request(self._plan, k, "chat", self._config, repairs)

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        pass

    def publish(self, status: Status) -> None:
        pass
