"""The judge: turns completions into programs, runs them in the sandbox, and returns verdicts.

HumanEval's canonical solutions calibrate the time limit for this machine. pass@k is in swarmeval/scores/stats.py.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from swarmeval.errors import DataError, SandboxError
from swarmeval.extraction.candidate import candidate
from swarmeval.handling import Handling
from swarmeval.in_thread import in_thread
from swarmeval.location import command
from swarmeval.records import NOT_EXECUTED, Completion, Execution, Outcome, Program, Suite, Task, Verdict, parse_job_id
from swarmeval.sandbox.calibration import MOST, Calibration, References, timeout_scale
from swarmeval.sandbox.executed.capture import Captured
from swarmeval.sandbox.executed.orders import Source
from swarmeval.sandbox.interpreters import commands_with
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.shared_executions import SharedExecutions
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.sandbox.warm_folders import installed, ready
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import chosen

OnProgress = Callable[[int, int], None]  # reference solutions tried, total
FIRST_TRY = 0.2  # share of the time limit for hurried programs


def load_tasks(limit: int | None = None) -> tuple[Task, ...]:
    """The first `limit` tasks of HumanEval. Raises DataError if HumanEval is missing, altered or too small."""
    return chosen(RunConfig() if limit is None else RunConfig(humaneval_limit=limit)).tasks


def canonical_solutions() -> dict[str, str]:
    """HumanEval's canonical solution of every task."""
    return {task.task_id: task.reference for task in load_tasks()}


def prepared_toolchains(tasks: Iterable[Task], judge_python: str | None = None) -> dict[str, Toolchain]:
    """The toolchains of the executed tasks, by language. Takes seconds the first time. Raises ConfigError.

    `judge_python`: the interpreter of Python programs; None: python3.
    """
    return ready(_executed_languages(tasks), commands_with(judge_python))


def require_toolchains(tasks: Iterable[Task], judge_python: str | None) -> None:
    """Raise ConfigError if a toolchain of the executed tasks is not installed. Creates no file."""
    installed(_executed_languages(tasks), commands_with(judge_python))


def _executed_languages(tasks: Iterable[Task]) -> set[str]:
    return {task.language for task in tasks if task.executed is not None}


def program(task: Task, completion: str, suite: Suite | None = None, beside: bool = False) -> Program:
    """Build the program that judges a completion. For HumanEval it equals that of the reference evaluator.

    `suite` replaces the task's own. `beside`: whether tests run in its process. An executed task's completion is whole.
    """
    suite = suite or task.suite
    if task.executed is not None:
        return Program(completion, suite.text, executed=task.executed)
    solution = f"{task.prompt}{completion}{task.ending}"
    return Program(solution, suite.text, suite.entry_point, suite.context, beside)


def reference_program(task: Task, suite: Suite | None = None, beside: bool = False) -> Program:
    """The program of the reference solution, which also shows how the tests call a solution."""
    return replace(program(task, task.reference, suite, beside), is_reference=True)


class Judge:
    """Judges completions, running up to `workers` programs at a time. Equal programs of a task run once."""

    def __init__(
        self,
        tasks: Sequence[Task],
        workers: int,
        timeout_s: float,
        memory_mb: int,
        use_black: bool = False,
        mode: str = "auto",
        any_name: bool = False,
        yields: bool = False,
        on_timing: Callable[[str, float], None] = lambda what, took_s: None,
        toolchains: Mapping[str, Toolchain] | None = None,
    ) -> None:
        """`yields`: whether programs get the lowest priority, for use beside replicas on the same cores.
        `toolchains`: those of executed tasks, by language.

        `on_timing` is called with "extract" or "judge", and the seconds, after each extraction and each program.
        """
        self._on_timing = on_timing
        self.tasks = {task.task_id: task for task in tasks}  # without base tests that turned out to be broken
        self._reading = (use_black, any_name)
        self._timeout_s = timeout_s
        self.limit_s = timeout_s  # time limit of a program; scaled by the calibration
        self._sandbox = Sandbox(workers, timeout_s, memory_mb, mode, yields=yields, toolchains=toolchains)
        self._shared = SharedExecutions(self._sandbox.run)
        self._extractors = asyncio.Semaphore(workers)
        self._unconfirmed: frozenset[str] = frozenset()
        self._learning: WeakValueDictionary[tuple[Program, str], asyncio.Lock] = WeakValueDictionary()  # by client too

    async def __aenter__(self) -> Self:
        """Start the sandbox. Raises SandboxError if programs cannot be run here."""
        await self._sandbox.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sandbox.__aexit__(kind, error, trace)

    def in_force(self) -> str:
        """The sandbox layers in force, in one line."""
        return self._sandbox.in_force()

    def missing(self) -> dict[str, str]:
        """The sandbox layers that are not available here, with reasons."""
        return self._sandbox.missing()

    def pids(self) -> tuple[int, ...]:
        """PIDs of the processes that start judged programs. Thread-safe."""
        return self._sandbox.pids()

    def socket_fds(self) -> tuple[int, ...]:
        """File descriptors that a forked process must not keep open. Thread-safe."""
        return self._sandbox.socket_fds()

    async def calibrate(self, on_progress: OnProgress = lambda done, total: None) -> Calibration:
        """Judge every canonical solution, and scale the time limit to the speed of this machine.

        Raises SandboxError if one fails, because verdicts on this machine would then be meaningless.
        """
        tasks = load_tasks()
        self._sandbox.set_timeout(MOST * self._timeout_s, MOST)
        executions = await self._try(tasks, on_progress=on_progress)
        cpu_s = {task.task_id: execution.cpu_s for task, execution in zip(tasks, executions, strict=True)}
        slowest = max(cpu_s, key=cpu_s.__getitem__)
        scale = timeout_scale(sum(cpu_s.values()))
        self.scale_timeout(scale)
        for task, execution in zip(tasks, executions, strict=True):
            if execution.outcome is not Outcome.PASSED:
                raise SandboxError(
                    f"sandbox: the canonical solution of {task.task_id} ended as {execution.outcome} "
                    f"({execution.detail}); "
                    f"raise eval_timeout or eval_memory_mb, or run {command()} doctor"
                )
        if cpu_s[slowest] > self.limit_s:
            raise SandboxError(
                f"sandbox: eval_timeout is {self._timeout_s:g} s, and the canonical solution of {slowest} takes "
                f"{cpu_s[slowest]:.2g} s here; raise eval_timeout"
            )
        return Calibration(scale, sum(cpu_s.values()), slowest, cpu_s[slowest])

    def scale_timeout(self, scale: float) -> None:
        """Set the time limit of programs to `scale` times eval_timeout."""
        self.limit_s = scale * self._timeout_s
        self._sandbox.set_timeout(self.limit_s, scale)

    async def try_references(
        self, on_progress: OnProgress = lambda done, total: None, added: Task | None = None
    ) -> References:
        """Judge the reference solutions of all tasks, or of one that is `added` to them, if there are any.

        If a solution passes only in the same process as its tests, the tests need more than plain data. Programs for
        that task then run with their tests in one process and are marked unconfirmed. If a solution fails the tests of
        its base problem, these tests are not used. Raises SandboxError.
        """
        if added is not None:
            self.tasks[added.task_id] = added
        tasks = [task for task in ([added] if added else self.tasks.values()) if task.reference]
        ends = dict(zip(tasks, await self._try(tasks, on_progress=on_progress), strict=True))
        called = [(task, end) for task, end in ends.items() if task.executed is None]
        failed = [task for task, end in called if end.outcome is not Outcome.PASSED or end.unconfirmed]
        beside = dict(zip(failed, await self._try(failed, beside=True), strict=True))
        unconfirmed = tuple(task.task_id for task, end in beside.items() if end.outcome is Outcome.PASSED)
        self._unconfirmed |= set(unconfirmed)
        ends |= beside
        based = [task for task in tasks if task.base is not None]
        bases = dict(zip(based, await self._try(based, of_base=True), strict=True))
        for task in _failed(bases):
            self.tasks[task] = replace(self.tasks[task], base=None)
        return References(_failed(ends), _failed(bases), unconfirmed)

    async def _try(
        self,
        tasks: Sequence[Task],
        of_base: bool = False,
        beside: bool = False,
        on_progress: OnProgress = lambda done, total: None,
    ) -> list[Execution]:
        """Run the reference solutions of tasks with the tests of the task, or of its base problem; equal ones once."""
        programs = [reference_program(task, task.base if of_base else None, beside) for task in tasks]
        distinct, done = list(dict.fromkeys(programs)), 0

        async def end_of(reference: Program) -> Execution:
            nonlocal done
            execution = await self._sandbox.run(reference)
            on_progress(done := done + 1, len(distinct))
            return execution

        ends = dict(zip(distinct, await asyncio.gather(*map(end_of, distinct)), strict=True))
        return [ends[reference] for reference in programs]

    async def _execute(self, task: Task, completion: str, suite: Suite, handling: Handling) -> tuple[Execution, bool]:
        """The execution of a completion, and whether that of an equal program is shared."""
        await self._learn_calls(task, suite, handling)
        wanted = replace(self._program(task, completion, suite), memory_mb=handling.memory_mb, owner=handling.owner)
        turns = handling.execution_turn, handling.client
        execution, is_shared = await self._shared.execution(wanted, handling.part, handling.again, *turns)
        if not is_shared:
            self._on_timing("judge", execution.wall_s)
        return execution, is_shared

    def _program(self, task: Task, completion: str, suite: Suite) -> Program:
        return program(task, completion, suite, task.task_id in self._unconfirmed)

    async def _learn_calls(self, task: Task, suite: Suite, handling: Handling) -> None:
        """Run the reference solution first, to record how the tests call it before other programs run."""
        if not task.reference or task.executed is not None or task.task_id in self._unconfirmed:
            return
        reference = replace(reference_program(task, suite), owner=handling.owner)
        async with self._learning.setdefault((reference, handling.client), asyncio.Lock()):
            if not self._sandbox.knows_calls(reference):
                async with handling.execution_turn():
                    await self._sandbox.run(reference)

    def recall(self, verdict: Verdict) -> None:
        """Let equal programs share this verdict of an earlier session."""
        task = self.tasks.get(parse_job_id(verdict.job_id).task_id)
        if task is None or verdict.outcome in NOT_EXECUTED:
            return
        ended = Execution(verdict.outcome, verdict.detail, unconfirmed=verdict.unconfirmed)
        self._shared.recall(self._program(task, verdict.code, task.suite), ended)
        if task.base is not None and verdict.base is not None:
            self._shared.recall(self._program(task, verdict.code, task.base), Execution(verdict.base))

    async def judge(self, completion: Completion, hurried: bool = False, again: bool = False) -> Verdict:
        """Extract, check and run one completion. Raises DataError for an unknown task, or SandboxError.

        `hurried` programs get only FIRST_TRY of the time limit, so that endless programs do not delay the others. Most
        programs need far less. TIMED_OUT then only means that a program needs more than this. `again`: execute the
        program even if an equal one has been executed.
        """
        task_id = parse_job_id(completion.job_id).task_id
        if task_id not in self.tasks:
            raise DataError(f"{completion.job_id}: no task {task_id!r} in this run")
        return await self.judge_as(Handling(FIRST_TRY if hurried else 1.0, again), self.tasks[task_id], completion)

    async def judge_as(self, handling: Handling, task: Task, completion: Completion) -> Verdict:
        """Judge a completion of any task. Raises SandboxError."""
        async with handling.extraction_turn(), self._extractors:
            started = time.monotonic()
            extracted = await in_thread(candidate, completion.reply, completion.form, task, *self._reading)
            judge_s = time.monotonic() - started
        self._on_timing("extract", judge_s)
        note = ", ".join(filter(None, (extracted.note, completion.note)))
        if extracted.outcome is not None:
            base = extracted.outcome if task.base is not None else None
            detail = completion.unanswered or extracted.error or ""
            return Verdict(completion.job_id, extracted.outcome, extracted.code, detail, judge_s, note, base)
        suites = [task.suite] if task.base is None else [task.suite, task.base]
        runs = [await self._execute(task, extracted.code, suite, handling) for suite in suites]
        execution = runs[0][0]
        return Verdict(
            completion.job_id,
            execution.outcome,
            extracted.code,
            execution.detail,
            # The wait for a free slot does not count, and an execution counts for one verdict only.
            judge_s + sum(run.wall_s for run, is_shared in runs if not is_shared),
            note,
            base=runs[1][0].outcome if len(runs) > 1 else None,
            unconfirmed=execution.unconfirmed,
            shared=all(is_shared for _, is_shared in runs),
        )

    async def capture(self, source: Source) -> Captured:
        """Build and run a program for its output. Raises SandboxError, or WardenDied if the program ends its judge."""
        return await self._sandbox.capture(source)


def _failed(ends: Mapping[Task, Execution]) -> dict[str, str]:
    """Map tasks that did not pass to their outcome and detail."""
    failed = {task.task_id: end for task, end in ends.items() if end.outcome is not Outcome.PASSED}
    return {task_id: f"{end.outcome}: {end.detail}" for task_id, end in failed.items()}


def judge_of(config: RunConfig, tasks: Sequence[Task], **more: Any) -> Judge:
    """A judge with the settings of a run; `more` are further arguments of Judge."""
    reading = config.use_black_formatting, config.sandbox.mode, config.accept_any_name
    return Judge(tasks, config.eval_workers, config.eval_timeout, config.eval_memory_mb, *reading, **more)
