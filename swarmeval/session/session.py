"""Runs one session of `run` or `score`, from starting the judge to writing the last file."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial

from agent_manager import Coordinator
from human_eval_runner import Judge, judge_of, prepared_toolchains
from swarmeval.doctor.trivial_answers import try_trivial
from swarmeval.errors import DataError, OutputError
from swarmeval.monitor.processes import context_switches
from swarmeval.monitor.tracing.export import write as write_trace
from swarmeval.monitor.tracing.run_spans import REPORTING, WRITE
from swarmeval.report.run_report import NAME as REPORT
from swarmeval.report.run_report import write as write_report
from swarmeval.runs.audit import Audit
from swarmeval.runs.journal import recent_verdicts
from swarmeval.runs.prefixes import PrefixStore
from swarmeval.sandbox.missing_layers import ACTS, EXECUTED_ACTS, unblocked_acts
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.scheduling.prefixes import judge_prefixes
from swarmeval.session.ending import DRAINED, FINISHED, STOPPED, Reason, page, recording_end
from swarmeval.session.run_context import SessionContext
from swarmeval.session.run_record import OpenRun
from swarmeval.session.signals import drain_on_interrupt, ignoring_interrupts
from swarmeval.session.summary import summary
from swarmeval.tasks.catalog import CUSTOM, HUMANEVAL

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class Ending:
    """The result of a session."""

    exit_code: int
    score: dict[str, object]  # the content of score.json
    summary: str  # for the screen


def carry_out(context: SessionContext) -> Ending:
    """Generate (with a swarm) and judge the missing answers, then write all results.

    If a UserError ends the session, writes as much as possible before raising it.
    """
    record, tracer = context.record, context.swarm.tracer if context.swarm else None
    record.begin()
    began, switches = time.monotonic(), context_switches()
    session = _SessionRun(context)
    reason = Reason()
    with contextlib.ExitStack() as quiet:
        try:
            with recording_end(reason), tracer or nullcontext():
                reason.text = FINISHED if asyncio.run(session.run()) else DRAINED
            if reason.text == STOPPED:
                log.warning("Stopped. Repeat the command to resume.")
        finally:
            score = _close(session, reason.text, quiet)
        if reason.text in (FINISHED, DRAINED):
            if tracer is None:
                write_trace(record.folder)  # an earlier, killed session may have been traced
            context.spans.enter(REPORTING)
            make_report(record)
        seconds = time.monotonic() - began
        voluntary, involuntary = (now - then for now, then in zip(context_switches(), switches, strict=True))
        code = 130 if reason.text != FINISHED else 1 if score["failures"] else 0
        switches_per_s = (voluntary + involuntary) / seconds
        process = (
            f"{voluntary} voluntary, {involuntary} involuntary context switches ({switches_per_s:.1f}/s); "
            f"event loop at most {context.readings.lag.worst_ms:.0f} ms late"
        )
        shown = process if context.config.verbose else ""
        lines = summary(record.folder, score, record.manifest, reason.text, shown)
        return Ending(code, score, lines)


class _SessionRun:
    """Runs the coordinator and its judge in one event loop."""

    def __init__(self, context: SessionContext) -> None:
        self.context = context
        self._config = context.config
        self._record = context.record
        self._coordinator: Coordinator | None = None
        self._draining = False

    async def run(self) -> bool:
        """Return False if drained before all jobs were answered and judged. Raises ExceptionGroup."""
        config, record = self._config, self._record
        tracer = self.context.swarm.tracer if self.context.swarm else None
        toolchains = await self._prepared_toolchains()
        judge = judge_of(
            config,
            record.ledger.jobs.tasks,
            yields=self.context.swarm is not None and config.computes_on_cpu(),
            toolchains=toolchains,
            on_timing=tracer.judged if tracer else lambda what, took_s: None,
        )
        with drain_on_interrupt(self._drain):
            async with self.context.readings.lag.sampled():
                return await self._judged(judge)

    async def _prepared_toolchains(self) -> dict[str, Toolchain]:
        """The toolchains of executed tasks; their versions are recorded. Raises ConfigError."""
        tasks = [task for task in self._record.ledger.jobs.tasks if task.executed is not None]
        if not tasks:
            return {}
        self.context.show_step(f"preparing toolchains: {', '.join(sorted({task.language for task in tasks}))}")
        toolchains = await asyncio.to_thread(prepared_toolchains, tasks, self._config.judge_python)
        self._record.note(toolchains={language: found.version for language, found in toolchains.items()})
        return toolchains

    def _drain(self) -> None:
        self._draining = True
        if self._coordinator is not None:
            self._coordinator.drain()

    async def _judged(self, judge: Judge) -> bool:
        config, record = self._config, self._record
        self.context.show_step("starting the sandbox")
        async with judge:
            self.context.readings.judge = judge
            missing = judge.missing()
            executes = any(task.executed is not None for task in record.ledger.jobs.tasks)
            let_through = unblocked_acts(missing, {**ACTS, **EXECUTED_ACTS} if executes else ACTS)
            record.note(sandbox=judge.in_force(), sandbox_missing=missing, sandbox_not_held=let_through)
            if config.sandbox.mode == "none":
                log.warning("sandbox.mode: none: model-written programs can access your files")
            elif missing:
                log.warning("sandbox: %s", "; ".join(f"no {layer}: {why}" for layer, why in missing.items()))
            await self._calibrate(judge)
            if config.benchmark != HUMANEVAL:  # calibration has already run its solutions
                await self._try_references(judge)
            if record.resumed:
                for verdict in recent_verdicts(record.journal.path):
                    judge.recall(verdict)
            with self._audit() as audit:
                self._coordinator = Coordinator(
                    record.run_id,
                    config,
                    record.ledger,
                    record.journal,
                    judge.judge,
                    self.context,
                    audit=audit,
                    judge_limit_s=judge.limit_s,
                    judge_again=partial(judge.judge, again=True),
                )
                if self._draining:
                    self._coordinator.drain()
                done = await self._coordinator.run(self.context.swarm.fleet if self.context.swarm else None)
            return done and await self._judge_prefixes(judge, self._coordinator)

    async def _judge_prefixes(self, judge: Judge, coordinator: Coordinator) -> bool:
        """Judge prefixes of the replies, if the settings ask for it; False if drained before the end."""
        config, record = self._config, self._record
        if not config.budget_prefixes or self.context.swarm is None:
            return True

        def show(task_id: str) -> None:
            self.context.publish(coordinator.status("judging", f"judging prefixes of the replies to {task_id}"))

        jobs, path = record.ledger.jobs, record.journal.path
        with PrefixStore(record.folder, jobs) as store:
            return await judge_prefixes(
                path, jobs, store, judge.judge, config.eval_workers, lambda: self._draining, show
            )

    def _audit(self) -> AbstractContextManager[Audit | None]:
        """The jobs to answer again after the run, if any. Raises OutputError."""
        record, number = self._record, self._config.audit.jobs
        return Audit(record.folder, record.ledger.jobs, number) if number and self.context.swarm else nullcontext()

    async def _calibrate(self, judge: Judge) -> None:
        """Set the judge's time limit and record the measurement behind it."""
        setting = self._config.eval_timeout_scale
        if setting != "auto":
            judge.scale_timeout(setting)
            self._record.note(eval_timeout_scale=setting)
            return
        calibration = await judge.calibrate(partial(self._show_check, "the judge", HUMANEVAL))
        self._record.note(eval_timeout_scale=calibration.scale, calibration=asdict(calibration))
        if calibration.scale > 1:
            log.warning("Slow machine: time limit raised to %g s (%g x eval_timeout)", judge.limit_s, calibration.scale)

    def _show_check(self, what: str, benchmark: str, done: int, total: int) -> None:
        self.context.show_step(f"checking {what}: {done} of {total} reference solutions of {benchmark}")

    async def _try_references(self, judge: Judge) -> None:
        """Record the reference solutions that fail, and those judged in the same process as their tests."""
        references = await judge.try_references(partial(self._show_check, "the benchmark", self._config.benchmark))
        self._record.note(references=asdict(references))
        if references.failed:
            named = ", ".join(list(references.failed)[:5])
            log.warning(
                "%s: reference solutions that fail: %d (%s); these tasks are defective, or need more time or memory; "
                "details: manifest.json",
                self._config.benchmark,
                len(references.failed),
                named,
            )
        if "trivial_answers" not in self._record.manifest:  # tried once per run
            await self._try_trivial_answers(judge, references.unconfirmed)

    async def _try_trivial_answers(self, judge: Judge, unconfirmed: Sequence[str]) -> None:
        """Record the tests that accept trivial answers. Raises DataError if custom tests accept anything."""
        config = self._config
        self.context.show_step("checking the benchmark: do its tests reject trivial answers?")
        trivial = await try_trivial(config, judge, self._record.ledger.jobs.tasks, unconfirmed)
        if config.benchmark == CUSTOM and (tasks := trivial.accept_anything()):
            raise DataError(
                f"{config.benchmark_file}: task {tasks[0]!r}: its tests accept any return value"
                f"{f', and so do those of {len(tasks) - 1} other tasks' if len(tasks) > 1 else ''}; "
                "compare it with the expected value (docs/adding-a-benchmark.md)"
            )
        self._record.note(trivial_answers=asdict(trivial))
        if trivial.accepted:
            log.info("%s: the tests of %d tasks accept a trivial answer", config.benchmark, len(trivial.accepted))

    def publish_writing(self) -> None:
        """Tell viewers that files are being written. With a million answers this takes a minute or more."""
        if self._coordinator is not None:
            self.context.publish(self._coordinator.status(message="writing the result files"))
            self.context.spans.enter(WRITE)

    def publish_end(self, reason: str) -> None:
        """Publish the final status."""
        if self._coordinator is not None:
            phase = {FINISHED: "done", DRAINED: "interrupted", STOPPED: "interrupted"}.get(reason, "failed")
            self.context.publish(self._coordinator.status(phase, reason))


def _close(session: _SessionRun, reason: str, quiet: contextlib.ExitStack) -> dict[str, object]:
    """Write the results, the final status and the manifest. On a full disk only the journal remains.

    Once all results of a finished run are written, Ctrl-C is ignored until `quiet` closes.
    """
    record = session.context.record
    try:
        session.publish_writing()
        score = record.write_results(session.context.facts(), session.context.prices())
        if reason == FINISHED:
            quiet.enter_context(ignoring_interrupts())
        session.publish_end(reason)
        record.end(reason)
    except OutputError as error:
        with contextlib.suppress(OutputError):
            record.end(f"failed: {error}")
        if not reason.startswith("failed"):
            raise
        log.warning("%s", error)
        return {}
    return score


def make_report(record: OpenRun) -> None:
    """Write the report of a run."""
    page(REPORT, record.folder, lambda: write_report(record.folder, record.ledger.jobs.tasks))
