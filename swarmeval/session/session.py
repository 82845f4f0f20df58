"""One session of a run or of `score`, from the judge's start to the last file, however it ends."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agent_manager import Coordinator, Hooks
from human_eval_runner import Judge
from swarmeval.errors import OutputError, UserError
from swarmeval.monitor.loop_lag import LoopLag
from swarmeval.monitor.processes import context_switches
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.monitor.tracing.export import write as write_trace
from swarmeval.report.run_report import NAME as REPORT
from swarmeval.report.run_report import write as write_report
from swarmeval.runs.audit import Audit
from swarmeval.sandbox.missing_layers import not_held
from swarmeval.session.run_record import OpenRun
from swarmeval.session.signals import handled, unheeded
from swarmeval.session.summary import summary
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import HUMANEVAL
from swarmeval.workers.protocol import Fleet

log = logging.getLogger("swarmeval")

FINISHED, DRAINED, STOPPED = "finished", "drained", "stopped"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended, for those who call it."""

    exit_code: int
    score: dict[str, object]  # what score.json holds
    summary: str  # lines for people


@dataclass
class Inside:
    """What a session shows to those who watch it, from any thread."""

    lag: LoopLag = field(default_factory=LoopLag)
    judge: Judge | None = None

    def judge_pids(self) -> tuple[int, ...]:
        """Of the processes that start judged programs."""
        return () if self.judge is None else self.judge.pids()


def carry_out(
    config: RunConfig,
    record: OpenRun,
    fleet: Fleet | None,
    hooks: Hooks,
    facts: Callable[[], Mapping[str, object]],
    inside: Inside | None = None,
    tracer: Tracer | None = None,
) -> Ending:
    """Answer (with a fleet) and judge what the record lacks, then write every result.

    `facts` gives what score.json says besides, when all else is done.

    Raises the UserError that ended the session, after everything that could be written was.
    """
    record.begin()
    began, switches = time.monotonic(), context_switches()
    inside = inside or Inside()
    session = _Session(config, record, fleet, hooks, inside, tracer)
    reason = Reason()
    with contextlib.ExitStack() as quiet:
        try:
            with ended(reason), tracer or nullcontext():
                reason.text = FINISHED if asyncio.run(session.run()) else DRAINED
            if reason.text == STOPPED:
                log.warning("stopped; the same command resumes")
        finally:
            score = _close(record, session, reason.text, facts, quiet)
        if reason.text in (FINISHED, DRAINED):
            if tracer is None:
                write_trace(record.folder)  # an earlier session may have been traced, and killed
            make_report(record)
        seconds = time.monotonic() - began
        voluntary, involuntary = (now - then for now, then in zip(context_switches(), switches, strict=True))
        code = 130 if reason.text != FINISHED else 1 if score["failures"] else 0
        lines = summary(
            record.folder, score, record.manifest, reason.text, seconds, voluntary, involuntary, inside.lag.worst_ms
        )
        return Ending(code, score, lines)


@dataclass(slots=True)
class Reason:
    """Why a session ended, as the manifest says it."""

    text: str = "failed: a fault of Swarmeval itself; its traceback is on the screen"


@contextlib.contextmanager
def ended(reason: Reason) -> Iterator[None]:
    """Run a session and learn why it ended; who is inside says so where it ends well. What the user did ends the block.

    Raises the UserError that ended it, alone also where it came in a group.
    """
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        reason.text = STOPPED
    except BaseExceptionGroup as group:
        error = user_error(group)
        reason.text = f"failed: {error}"
        raise error from None
    except UserError as error:
        reason.text = f"failed: {error}"
        raise


class _Session:
    """The coordinator and its judge, within one event loop."""

    def __init__(
        self,
        config: RunConfig,
        record: OpenRun,
        fleet: Fleet | None,
        hooks: Hooks,
        inside: Inside,
        tracer: Tracer | None,
    ) -> None:
        self._config = config
        self._record = record
        self._fleet = fleet
        self._hooks = hooks
        self._inside = inside
        self._tracer = tracer
        self.coordinator: Coordinator | None = None
        self._draining = False

    async def run(self) -> bool:
        """False when drained before every job was answered. Raises ExceptionGroup."""
        config, record = self._config, self._record
        judge = Judge(
            record.ledger.jobs.tasks,
            config.eval_workers,
            config.eval_timeout,
            config.eval_memory_mb,
            config.use_black_formatting,
            config.sandbox,
            config.accept_any_name,
            **({"told": self._tracer.judged} if self._tracer else {}),
        )
        with handled(self._drain):
            async with self._inside.lag.sampled():
                return await self._judged(judge)

    def _drain(self) -> None:
        self._draining = True
        if self.coordinator is not None:
            self.coordinator.drain()

    async def _judged(self, judge: Judge) -> bool:
        config, record = self._config, self._record
        async with judge:
            self._inside.judge = judge
            missing = judge.missing()
            record.note(sandbox=judge.in_force(), sandbox_missing=missing, sandbox_not_held=not_held(missing))
            if config.sandbox == "none":
                log.warning("sandbox: none: model-written programs run with nothing between them and your files")
            elif missing:
                log.warning("sandbox: %s", "; ".join(f"no {layer}: {why}" for layer, why in missing.items()))
            await self._calibrate(judge)
            if config.benchmark != HUMANEVAL:  # whose own solutions the calibration was about
                await self._try_references(judge)
            with self._audit() as audit:
                self.coordinator = Coordinator(
                    record.run_id, config, record.ledger, record.journal, judge.judge, self._hooks, audit=audit
                )
                if self._draining:
                    self.coordinator.drain()
                return await self.coordinator.run(self._fleet)

    def _audit(self) -> AbstractContextManager[Audit | None]:
        """What is to be answered again after the run, if anything is. Raises OutputError."""
        record, number = self._record, self._config.answered_again()
        return Audit(record.folder, record.ledger.jobs, number) if number and self._fleet else nullcontext()

    async def _calibrate(self, judge: Judge) -> None:
        """Set the judge's time limit, and write down why."""
        setting = self._config.eval_timeout_scale
        if setting != "auto":
            judge.scale_timeout(setting)
            self._record.note(eval_timeout_scale=setting)
            return
        found = await judge.calibrate()
        self._record.note(eval_timeout_scale=found.scale, calibration=asdict(found))
        if found.scale > 1:
            log.warning("this machine is slow: programs may compute %g times eval_timeout", found.scale)

    async def _try_references(self, judge: Judge) -> None:
        """Write down which of the benchmark's own solutions do not pass, and which are judged beside tests only."""
        found = await judge.try_references()
        self._record.note(references=asdict(found))
        if found.failed:
            named = ", ".join(list(found.failed)[:5])
            log.warning(
                "%s: its own solutions of %d tasks do not pass (%s): nobody's may; manifest.json says how each ended",
                self._config.benchmark,
                len(found.failed),
                named,
            )

    def publish_writing(self) -> None:
        """For those who look while the files are written: of a million answers that takes a minute or more."""
        if self.coordinator is not None:
            self._hooks.publish(self.coordinator.status(message="writing the result files"))

    def publish_end(self, reason: str) -> None:
        """The last status, for those who look later."""
        if self.coordinator is not None:
            phase = {FINISHED: "done", DRAINED: "interrupted", STOPPED: "interrupted"}.get(reason, "failed")
            self._hooks.publish(self.coordinator.status(phase, reason))


def _close(
    record: OpenRun,
    session: _Session,
    reason: str,
    facts: Callable[[], Mapping[str, object]],
    quiet: contextlib.ExitStack,
) -> dict[str, object]:
    """Results, last status and manifest; on a full disk the journal alone must do.

    Where all of a run is written Ctrl-C is heeded no more until `quiet` ends: a finished run is not interrupted.
    """
    try:
        session.publish_writing()
        score = record.write_results(facts())
        if reason == FINISHED:
            quiet.enter_context(unheeded())
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
    """The run on one page."""
    page(REPORT, record.folder, lambda: write_report(record.folder, record.ledger.jobs.tasks))


def page(name: str, folder: Path, write: Callable[[], Path]) -> Path | None:
    """The page that `write` makes; where that fails the log says so, and the run is what it was."""
    try:
        return write()
    except UserError as error:
        why = str(error)
    except KeyboardInterrupt:
        why = "interrupted"
    except Exception as error:  # whatever is wrong with a page, the run has ended
        why = f"{type(error).__name__}: {error}"
        log.info("of %s:", name, exc_info=True)  # a fault of ours: run.log has its traceback
    log.warning("no %s: %s; `python main.py report %s` makes it later", name, why, folder)
    return None


def user_error(group: BaseExceptionGroup[BaseException]) -> UserError:
    """The first UserError of a group of nothing else; a group with a fault of ours is raised as it is."""
    mine, others = group.split(UserError)
    if mine is None or others is not None:
        raise group
    error: BaseException = mine
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UserError)
    return error
