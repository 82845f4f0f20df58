"""A coordinator with a real journal, a fleet of echo workers, and a judge whose verdicts the test chooses."""

import asyncio
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from agent_manager import Coordinator
from swarmeval.records import Attempt, Completion, Failure, Outcome, Status, Suite, Task, Verdict
from swarmeval.requests import ReplicaInfo, Request
from swarmeval.runs.audit import Audit
from swarmeval.runs.journal import Entry, Journal, entries
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.scheduling.context import RunContext
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.protocol import Fleet
from tests.support.echo_fleet import INFO


class Bench(RunContext):
    """Runs a coordinator with a real journal in a folder, and records what it did."""

    def __init__(self, folder: Path, agents: int = 2, tasks: int = 3, **settings: object) -> None:
        self.config = RunConfig.model_validate({"num_agents": agents, "eval_workers": 2, "batch_size": 2, **settings})
        self.plan = Plan(make_agents(self.config), [Task(f"T/{n}", "def f():\n", Suite("f", "")) for n in range(tasks)])
        self.folder = folder
        self.judged: Counter[str] = Counter()
        self.statuses: list[Status] = []
        self.readied: list[str] = []
        self.rights: frozenset[str] = frozenset()  # job ids whose answers pass
        self.slow: dict[str, int] = {}  # job id -> tries in which its program times out
        self.whole: Counter[str] = Counter()  # tries with the full time limit, by job id
        self.at_once = self.most_at_once = 0  # tries with the full time limit
        self.ledger = Ledger(self.plan)

    def run(self, fleet: Fleet | None, drain_after: int | None = None) -> bool:
        number = self.config.audit.jobs
        with (
            Journal(self.folder) as journal,
            Audit(self.folder, self.plan, number) if number else nullcontext() as audit,
        ):
            self.ledger = Ledger(self.plan)
            for _, entry in entries(journal.path):
                self.ledger.add(entry)
            coordinator = Coordinator(
                "test",
                self.config,
                self.ledger,
                journal,
                self.judge,
                self,
                backoff_s=(0.0,),
                audit=audit,
                judge_limit_s=10.0,
            )
            self.coordinator, self._drain_after = coordinator, drain_after
            return asyncio.run(coordinator.run(fleet))

    def request(self, k: int, repairs: Attempt | None) -> Request:
        return make_request(self.plan, k, "chat", self.config, repairs)

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        assert info == INFO or info.engine == "scripted"
        self.readied.append(device)

    def publish(self, status: Status) -> None:
        self.statuses.append(status)

    async def judge(self, completion: Completion, hurried: bool) -> Verdict:
        self.whole[completion.job_id] += not hurried
        self.at_once += not hurried
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= not hurried
        self.judged[completion.job_id] += 1
        if self._drain_after is not None and len(self.judged) >= self._drain_after:
            self.coordinator.drain()
        late = self.judged[completion.job_id] <= self.slow.get(completion.job_id, 0)
        outcome = Outcome.PASSED if completion.job_id in self.rights else Outcome.WRONG_ANSWER
        return Verdict(completion.job_id, Outcome.TIMED_OUT if late else outcome, "", "late" * late)

    def journaled(self) -> list[Entry]:
        return [entry for _, entry in entries(self.folder / "journal.jsonl")]

    def answers(self) -> dict[str, Completion | Failure]:
        """Answers by job id. Fails if a job has two."""
        outcomes = [entry.completion or entry.failure for entry in self.journaled()]
        answered = [answer for answer in outcomes if answer is not None]
        assert len({answer.job_id for answer in answered}) == len(answered)
        return {answer.job_id: answer for answer in answered}

    def planned(self) -> set[str]:
        return {self.plan.job(k).job_id for k in range(self.plan.total)}
