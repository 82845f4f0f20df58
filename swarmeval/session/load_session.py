"""A load run from its fleet's start to the weighed tests: packages -> functions -> requests -> test files -> worth."""

import asyncio
import signal
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from swarmeval.errors import DataError
from swarmeval.loadtest.arrivals import Closed, Level, Open
from swarmeval.loadtest.facts import LevelFacts, Memory
from swarmeval.loadtest.generator import Measured
from swarmeval.loadtest.progress import LoadProgress
from swarmeval.loadtest.request_rows import RowFile
from swarmeval.monitor import allocations
from swarmeval.monitor.allocations import Allocations
from swarmeval.monitor.tracing.flame import Flame, flame_path
from swarmeval.scores.energy import between
from swarmeval.serving.pool import Pool
from swarmeval.session.run_record import Record
from swarmeval.session.signals import heeded
from swarmeval.session.watchers import Watching
from swarmeval.settings.loadtest import LoadLevel
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen import test_index, tidying, weighing
from swarmeval.testgen.files import file_names
from swarmeval.testgen.model_requests import RequestBuilder
from swarmeval.testgen.packages import Skips, files, roots
from swarmeval.testgen.pipeline import Pipeline, PipelineCallbacks
from swarmeval.testgen.sources import Module, modules
from swarmeval.testgen.weighing import Sums
from swarmeval.testgen.workload import Workload, first_functions
from swarmeval.testgen.worth import Weigher

FILE_TIMES = 6  # a test file may run so many times as long as one test
LOOK_EVERY_S = 5.0  # at what holds memory


@dataclass(slots=True)
class Found:
    """What a session knows at its end, however it came."""

    levels: list[LevelFacts] = field(default_factory=list)
    worth: dict[str, Sums] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    functions: int = 0
    memory: Memory | None = None
    mode: str = ""
    tidied: tidying.TidyingProgress | None = None
    sandbox: str = ""


class LoadSession:
    """Carries out what a config asks for; `found` holds what there is of it at any time."""

    def __init__(self, config: RunConfig, record: Record, watching: Watching, progress: LoadProgress) -> None:
        self.found = Found()
        self._config = config
        self._record = record
        self._watching = watching
        self._progress = progress
        self._roots = roots(config.loadtest.packages)

    async def run(self) -> None:
        """Raises UserError, alone or in a group, and CancelledError when the user ends it."""
        task = asyncio.current_task()
        assert task is not None
        with heeded(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), task.cancel)):
            with ExitStack() as traced:
                memory = traced.enter_context(Allocations()) if self._config.trace else None
                flame = Flame(flame_path(self._record.folder, "coordinator", 1)) if self._config.trace else None
                try:
                    await self._load(memory)
                finally:
                    if memory is not None:
                        memory.look()
                        self.found.memory = Memory(memory.lines, memory.functions(), allocations.SOURCE)
                    if flame is not None:
                        flame.write()
            await self._weigh()

    async def _load(self, memory: Allocations | None) -> None:
        """All levels, one after another."""
        config, folder = self._config, self._record.folder
        self._progress.say("waiting for the servers" if config.fleet == "endpoint" else "loading the model")
        async with Pool(self._watching.fleet, most_waiting=0) as pool:
            await pool.until_settled()
            for seat in pool.seats:
                if seat.info is not None:
                    self._watching.ready(seat.worker.name, seat.info)
            assert pool.info is not None
            asking = RequestBuilder(config, pool.info)
            self.found.mode = asking.mode
            self._progress.say("reading packages")
            await asyncio.to_thread(self._count, asking)
            names = file_names(file.module for root in self._roots for file in files(root, Skips()))
            with RowFile(folder) as rows:
                tellings = PipelineCallbacks(rows.append, lambda line: test_index.append(folder, line), self._ended)
                async with Workload(lambda: self._modules(asking, Skips())) as workload:
                    pipeline = Pipeline(pool, asking, workload, folder, names, tellings)
                    for level in config.loadtest.levels:
                        await self._under(pipeline, meant(level, self.found.functions), memory)
            if config.loadtest.combine_with_model:
                await self._tidy(pool, asking)

    async def _under(self, pipeline: Pipeline, level: Level, memory: Allocations | None) -> None:
        """One level. What it drew counts from sample to sample of the monitor."""
        facts = LevelFacts(str(level.pattern), level.warmup_s)
        self.found.levels.append(facts)
        before = self._watching.drawn()
        self._progress.begin(facts.name, level.count if level.seconds is None else None)
        looking = asyncio.create_task(self._look(memory)) if memory is not None else None
        try:
            await pipeline.run_level(level, self._config.seed)
        finally:
            if looking is not None:
                looking.cancel()
        self._progress.close()
        joules = between(before, self._watching.drawn(), self._record.manifest["idle_w"])
        self.found.levels[-1] = LevelFacts(facts.name, facts.warmup_s, joules)

    async def _tidy(self, pool: Pool, asking: RequestBuilder) -> None:
        """By the model, behind the last level and before the weighing: nothing of it is measured."""
        folder = self._record.folder
        self.found.tidied = tally = tidying.count_merged(folder)
        self._progress.begin("tidying test files", tally.files)
        await tidying.tidy(folder, pool, asking, tally, self._progress.ended)
        self._progress.close()

    async def _weigh(self) -> None:
        """In the sandbox, when nobody's time is measured any more."""
        config = self._config
        lines = sum(1 for _ in test_index.read(self._record.folder))
        self._progress.begin("weighing test files", lines)
        async with Weigher(
            self._roots, config.eval_workers, FILE_TIMES * config.eval_timeout, config.eval_timeout,
            config.eval_memory_mb, config.sandbox.mode,
        ) as weigher:  # fmt: skip
            self.found.sandbox = weigher.in_force()
            self.found.worth = await weighing.weigh(
                self._record.folder, weigher, config.eval_workers, lambda _: self._progress.ended()
            )
        self._progress.close()

    def _modules(self, asking: RequestBuilder, skips: Skips) -> Iterable[Module]:
        config = self._config
        found = modules(config.loadtest.packages, skips, asking.fits, config.loadtest.files_per_package, config.seed)
        return first_functions(found, config.task_limit())

    def _count(self, asking: RequestBuilder) -> None:
        """Raises DataError where there is nothing to write tests for."""
        skips = Skips()
        self.found.functions = sum(len(module.functions) for module in self._modules(asking, skips))
        self.found.skipped = skips.counts
        self._record.note(skipped={reason: [count, skips.names[reason]] for reason, count in skips.counts.items()})
        if not self.found.functions:
            why = ", ".join(f"{reason} ({count})" for reason, count in skips.counts.items()) or "no Python source"
            raise DataError(
                f"loadtest.packages: {', '.join(self._config.loadtest.packages)}: no function to test: {why}"
            )

    def _ended(self, measured: Measured) -> None:
        self._progress.ended(measured.latency_s, measured.error is not None)

    @staticmethod
    async def _look(memory: Allocations) -> None:
        while True:
            await asyncio.to_thread(memory.look)
            await asyncio.sleep(LOOK_EVERY_S)


def meant(level: LoadLevel, functions: int) -> Level:
    """A level as it is carried out: one without an end asks for every function once."""
    pattern = Closed(level.concurrency) if level.concurrency is not None else Open(level.rate or 0.0, level.most)
    count = functions if level.seconds is None and level.count is None else level.count
    return Level(pattern, level.seconds, count, level.warmup_s)
