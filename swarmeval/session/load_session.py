"""Runs a load test: packages -> functions -> requests -> test files -> quality of the tests."""

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
from swarmeval.monitor.tracing.run_spans import LOAD, RunSpans
from swarmeval.scores.energy import between
from swarmeval.serving.pool import Pool
from swarmeval.session.run_record import Record
from swarmeval.session.signals import handling_signals
from swarmeval.session.watchers import SessionWatchers
from swarmeval.settings.loadtest import LoadLevel
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen import test_index, tidying, weighing
from swarmeval.testgen.files import file_names
from swarmeval.testgen.model_requests import RequestBuilder
from swarmeval.testgen.packages import Skips, find_roots, source_files
from swarmeval.testgen.pipeline import Pipeline, PipelineCallbacks
from swarmeval.testgen.sources import Module, modules
from swarmeval.testgen.weighing import Sums
from swarmeval.testgen.workload import Workload, first_functions
from swarmeval.testgen.worth import Weigher

FILE_TIMES = 6  # time limit of a test file, as a multiple of that of one test
LOOK_EVERY_S = 5.0  # interval between memory samples of a traced run


@dataclass(slots=True)
class LoadResults:
    """The results of a session, complete or not."""

    levels: list[LevelFacts] = field(default_factory=list)
    worth: dict[str, Sums] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    functions: int = 0
    memory: Memory | None = None
    mode: str = ""
    tidied: tidying.TidyingProgress | None = None
    sandbox: str = ""


class LoadSession:
    """Carries out the load test of a config. `results` is valid at any time, also after an early end."""

    def __init__(
        self, config: RunConfig, record: Record, watchers: SessionWatchers, progress: LoadProgress, spans: RunSpans
    ) -> None:
        self.results = LoadResults()
        self._config = config
        self._record = record
        self._watchers = watchers
        self._progress = progress
        self._spans = spans
        self._roots = find_roots(config.loadtest.packages)

    async def run(self) -> None:
        """Raises UserError, alone or in a group, and CancelledError if the user stops the run."""
        task = asyncio.current_task()
        assert task is not None
        with handling_signals(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), task.cancel)):
            with ExitStack() as tracing:
                memory = tracing.enter_context(Allocations()) if self._config.trace else None
                flame = Flame(flame_path(self._record.folder, "coordinator", 1)) if self._config.trace else None
                try:
                    await self._load(memory)
                finally:
                    if memory is not None:
                        memory.look()
                        self.results.memory = Memory(memory.lines, memory.functions(), allocations.SOURCE)
                    if flame is not None:
                        flame.write()
            await self._weigh()

    async def _load(self, memory: Allocations | None) -> None:
        """Run all levels, one after another."""
        config, folder = self._config, self._record.folder
        self._spans.enter(LOAD)
        self._progress.say("waiting for the servers" if config.fleet == "endpoint" else "loading the model")
        async with Pool(self._watchers.fleet, most_waiting=0) as pool:
            await pool.until_settled()
            for member in pool.members:
                if member.info is not None:
                    self._watchers.ready(member.worker.name, member.info)
                    self._spans.loaded(member.worker.name, member.info)
            assert pool.info is not None
            builder = RequestBuilder(config, pool.info)
            self.results.mode = builder.mode
            self._progress.say("reading packages")
            await asyncio.to_thread(self._count, builder)
            names = file_names(file.module for root in self._roots for file in source_files(root, Skips()))
            with RowFile(folder) as rows:
                callbacks = PipelineCallbacks(rows.append, lambda line: test_index.append(folder, line), self._ended)
                async with Workload(lambda: self._modules(builder, Skips())) as workload:
                    pipeline = Pipeline(pool, builder, workload, folder, names, callbacks)
                    for level in config.loadtest.levels:
                        await self._run_level(pipeline, as_level(level, self.results.functions), memory)
            if config.loadtest.combine_with_model:
                await self._tidy(pool, builder)

    async def _run_level(self, pipeline: Pipeline, level: Level, memory: Allocations | None) -> None:
        """Run one level. Its energy is measured between samples of the monitor."""
        facts = LevelFacts(str(level.pattern), level.warmup_s)
        self.results.levels.append(facts)
        before = self._watchers.drawn()
        self._progress.begin(facts.name, level.count if level.seconds is None else None)
        sampling = asyncio.create_task(self._sample_memory(memory)) if memory is not None else None
        try:
            await pipeline.run_level(level, self._config.seed)
        finally:
            if sampling is not None:
                sampling.cancel()
        self._progress.close()
        joules = between(before, self._watchers.drawn(), self._record.manifest["idle_w"])
        self.results.levels[-1] = LevelFacts(facts.name, facts.warmup_s, joules)

    async def _tidy(self, pool: Pool, builder: RequestBuilder) -> None:
        """Let the model tidy the merged test files. Not measured: all levels have ended."""
        folder = self._record.folder
        self.results.tidied = tidied = tidying.count_merged(folder)
        self._spans.enter("tidy")
        self._progress.begin("tidying test files", tidied.files)
        await tidying.tidy(folder, pool, builder, tidied, self._progress.ended)
        self._progress.close()

    async def _weigh(self) -> None:
        """Run the generated tests in the sandbox to measure their quality, after all latencies have been measured."""
        config = self._config
        self._spans.enter("judge")
        lines = sum(1 for _ in test_index.read(self._record.folder))
        self._progress.begin("evaluating test files", lines)
        async with Weigher(
            self._roots, config.eval_workers, FILE_TIMES * config.eval_timeout, config.eval_timeout,
            config.eval_memory_mb, config.sandbox.mode,
        ) as weigher:  # fmt: skip
            self.results.sandbox = weigher.in_force()
            self.results.worth = await weighing.weigh(
                self._record.folder, weigher, config.eval_workers, lambda _: self._progress.ended()
            )
        self._progress.close()

    def _modules(self, builder: RequestBuilder, skips: Skips) -> Iterable[Module]:
        config = self._config
        every_module = modules(
            config.loadtest.packages, skips, builder.fits, config.loadtest.files_per_package, config.seed
        )
        return first_functions(every_module, config.task_limit())

    def _count(self, builder: RequestBuilder) -> None:
        """Count and record the functions to test. Raises DataError if no function is found."""
        skips = Skips()
        self.results.functions = sum(len(module.functions) for module in self._modules(builder, skips))
        self.results.skipped = skips.counts
        self._record.note(skipped={reason: [count, skips.names[reason]] for reason, count in skips.counts.items()})
        if not self.results.functions:
            why = ", ".join(f"{reason} ({count})" for reason, count in skips.counts.items()) or "no Python source"
            raise DataError(
                f"loadtest.packages: {', '.join(self._config.loadtest.packages)}: no function to test: {why}"
            )

    def _ended(self, measured: Measured) -> None:
        self._progress.ended(measured.latency_s, measured.error is not None)

    @staticmethod
    async def _sample_memory(memory: Allocations) -> None:
        while True:
            await asyncio.to_thread(memory.look)
            await asyncio.sleep(LOOK_EVERY_S)


def as_level(level: LoadLevel, functions: int) -> Level:
    """The level to run. A level without a time or a count requests every function once."""
    pattern = Closed(level.concurrency) if level.concurrency is not None else Open(level.rate or 0.0, level.most)
    count = functions if level.seconds is None and level.count is None else level.count
    return Level(pattern, level.seconds, count, level.warmup_s)
