"""A started judge in a thread of its own, with its event loop: callers need no loop, and may have a running one."""

import asyncio
import contextlib
import logging
import selectors
import threading
from collections.abc import Collection, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import human_eval_runner as runner
from swarmeval.errors import ConfigError, DataError, SandboxError
from swarmeval.handling import Handling
from swarmeval.library.forks import release
from swarmeval.records import Completion, Task, Verdict
from swarmeval.sandbox.interpreters import commands_with
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.sandbox.warm_folders import ready
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.assertions import idle

T = TypeVar("T")

CLOSED = "Judge: closed while it was used; close it after its last verdict"

log = logging.getLogger("swarmeval")


class JudgeThread:
    """A judge that runs from start() to stop(). Its public methods may be called from any thread."""

    def __init__(self, config: RunConfig, languages: Collection[str]) -> None:
        self.started: Future[None] = Future()  # done when programs can be judged; else holds the reason why not
        self.started.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it for the others
        self.layers, self.missing_layers = "", dict[str, str]()
        self._config, self._languages = config, frozenset(languages)
        self._thread = threading.Thread(target=self._run, name="swarmeval-judge", daemon=True)
        self._loop = new_loop()
        self._end = asyncio.Event()
        self._judge: runner.Judge | None = None
        self._known: dict[str, Task] = {}  # tasks whose reference solutions have been tried
        self._locks: dict[str, asyncio.Lock] = {}  # by task_id; held during the trial

    def start(self) -> None:
        """Start the thread, without waiting for `started`."""
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether the judge could not be started."""
        return self.started.done() and self.started.exception() is not None

    def stop(self) -> None:
        """End the judge and the programs that it runs, and wait for both. Idempotent."""
        self.request_stop()
        self._thread.join()

    def request_stop(self) -> None:
        """End the judge and the programs that it runs, without waiting."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._end.set)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the thread's loop. Raises SandboxError if the judge has ended."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise SandboxError(CLOSED) from None

    def abandon(self) -> None:
        """Release in a forked process what keeps the parent's judge alive."""
        if self._judge is not None:
            release(self._judge.socket_fds())

    async def verdicts(self, answers: Sequence[tuple[Completion, Task]]) -> list[Verdict]:
        """Judge completions of tasks; return verdicts in the same order. Runs in the thread's loop.

        Raises ConfigError, DataError or SandboxError.
        """
        found: dict[int, Verdict] = {}
        waiting = iter(enumerate(answers))

        async def take() -> None:
            for number, (completion, task) in waiting:
                found[number] = await self._verdict(completion, task)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(answers), 2 * self._config.eval_workers)):
                    group.create_task(take())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the tasks of this group end at the first error
        return [found[number] for number in range(len(answers))]

    async def _verdict(self, completion: Completion, task: Task) -> Verdict:
        assert self._judge is not None  # started
        async with self._locks.setdefault(task.task_id, asyncio.Lock()):
            await self._introduce(task, self._judge)
        return await self._judge.judge_as(Handling(), self._judge.tasks[task.task_id], completion)

    async def _introduce(self, task: Task, judge: runner.Judge) -> None:
        """Make a task known to the judge, and try its reference solution once."""
        known = self._known.get(task.task_id)
        if known is not None:
            if known is not task and known != task:
                raise DataError(f"task {task.task_id!r}: another task has this task_id; give each its own")
            return
        refuse_unfit(task, self._languages)
        references = await judge.try_references(added=task)
        for task_id, reason in references.failed.items():
            log.warning("%s: its reference solution fails: %s", task_id, reason)
        self._known[task.task_id] = task

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as loop:
            loop.run(self._live())

    async def _live(self) -> None:
        """Keep the judge open until stop()."""
        try:
            async with await self._opened() as self._judge:
                await self._calibrate(self._judge)
                self.layers, self.missing_layers = self._judge.in_force(), self._judge.missing()
                self._warn()
                self.started.set_result(None)
                await self._end.wait()
        except BaseException as error:
            if self.started.done():
                raise
            self.started.set_exception(error)

    async def _opened(self) -> runner.Judge:
        config, toolchains = self._config, dict[str, Toolchain]()
        if self._languages:
            toolchains = await asyncio.to_thread(ready, self._languages, commands_with(config.judge_python))
        return runner.judge_of(config, (), toolchains=toolchains)

    def _warn(self) -> None:
        if self._config.sandbox.mode == "none":
            log.warning("sandbox.mode: none: model-written programs can access your files")
        elif self.missing_layers:
            log.warning("sandbox: %s", "; ".join(f"no {layer}: {why}" for layer, why in self.missing_layers.items()))

    async def _calibrate(self, judge: runner.Judge) -> None:
        scale = self._config.eval_timeout_scale
        if scale == "auto":
            await judge.calibrate()
        else:
            judge.scale_timeout(scale)


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop that can start processes under the loop policy in force.

    Before Python 3.14, under uvloop's policy, only uvloop's own loops can. A loop of asyncio gets a selector without
    state in the kernel, which a forked process would share.
    """
    loop = asyncio.new_event_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        return loop
    loop.close()
    return asyncio.SelectorEventLoop(selectors.PollSelector())


def refuse_unfit(task: Task, languages: frozenset[str]) -> None:
    """Raise DataError or ConfigError for a task that cannot be judged, or whose tests accept anything."""
    if task.executed is None:
        if not task.entry_point.isidentifier():
            raise DataError(
                f"task {task.task_id!r}: its entry_point is {task.entry_point!r}; name the function that its tests call"
            )
        if reason := idle(task.suite.text):
            raise DataError(f"task {task.task_id!r}: its tests cannot fail: {reason}; write assertions")
    elif task.language not in languages:
        raise ConfigError(
            f"task {task.task_id!r}: executed in {task.language}; prepare it with Judge(languages=[{task.language!r}])"
        )
