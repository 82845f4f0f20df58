"""`swarmeval.Judge`: judges replies, from synchronous and asynchronous code."""

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Literal, Self
from weakref import finalize

from swarmeval.errors import ConfigError, DataError, SandboxError
from swarmeval.library.forks import watch
from swarmeval.library.judge_thread import CLOSED, JudgeThread
from swarmeval.records import Completion, Form, Job, Task, Verdict
from swarmeval.runs.reply_file import FORMS
from swarmeval.settings.loading import validate
from swarmeval.surrogates import note, without_lone

Mode = Literal["strict", "auto", "none"]


class Judge:
    """A judge of programs: runs them against the tests of tasks in the sandbox, and returns verdicts.

    A judge starts at its first use, or at the start of a `with` or `async with` block. It ends with the block or at
    close(). Threads and event loops may share it. It works in a thread and a loop of its own, so its blocking methods
    may be called anywhere, even in a Jupyter cell.

    A forked process, or one that receives a pickled judge, starts a sandbox of its own at the first use.

    A program that fails, crashes, hangs or cheats gets a verdict. Exceptions mean errors of the caller or the machine.
    """

    def __init__(
        self,
        *,
        eval_workers: int | None = None,
        eval_timeout: float | None = None,
        eval_timeout_scale: float | Literal["auto"] | None = None,
        eval_memory_mb: int | None = None,
        sandbox_mode: Mode | None = None,
        languages: Collection[str] = (),
        judge_python: str | None = None,
        use_black_formatting: bool = False,
        accept_any_name: bool = False,
    ) -> None:
        """Set how programs are judged. Starts nothing. None means the default of the setting with that name.

        Args:
            eval_workers: The number of programs that run at once.
            eval_timeout: The time limit of a program, in seconds.
            eval_timeout_scale: A factor on eval_timeout. "auto", the default, judges HumanEval's reference solutions at
                the start, which takes about a second, and gives more time on slow machines. 1.0 skips this.
            eval_memory_mb: The memory limit of a program, in MiB.
            sandbox_mode: "auto" uses the layers of the sandbox that are available here, "strict" refuses to run unless
                all are. "none" isolates nothing: programs can then do whatever you can.
            languages: The languages of executed tasks. Their toolchains are prepared at the start.
            judge_python: The interpreter of executed Python programs. None means python3.
            use_black_formatting: Whether to format extracted code with black.
            accept_any_name: Whether to accept the only function of a reply if its name differs from the entry point.

        Raises:
            ConfigError: A value is out of range.
        """
        if isinstance(languages, str):
            raise ConfigError(f"Judge: languages is {languages!r}; give a list: [{languages!r}]")
        given = {
            "eval_workers": eval_workers,
            "eval_timeout": eval_timeout,
            "eval_timeout_scale": eval_timeout_scale,
            "eval_memory_mb": eval_memory_mb,
            "sandbox.mode": sandbox_mode,
            "judge_python": judge_python,
            "use_black_formatting": use_black_formatting,
            "accept_any_name": accept_any_name,
        }
        self._config = validate({key: value for key, value in given.items() if value is not None}, "Judge")
        self._languages = tuple(languages)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._thread: JudgeThread | None = None
        self._inherited: JudgeThread | None = None

    def _forget(self) -> None:
        """Drop the parent's sandbox, in a forked process."""
        inherited = self._thread
        if inherited is not None:
            self._last_resort.detach()
        self._reset()
        if inherited is not None:
            inherited.abandon()
            self._inherited = inherited  # never finalized here: its objects are those of the parent's processes

    def __getstate__(self) -> dict[str, Any]:
        return {"_config": self._config, "_languages": self._languages}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def start(self) -> Self:
        """Start the sandbox, if it is not running, and wait until programs can be judged.

        Raises:
            SandboxError: Programs cannot be run here.
            ConfigError: A toolchain is missing.
        """
        self._begun().started.result()
        return self

    def close(self) -> None:
        """End the sandbox and the programs in it. The judge starts again if it is used again."""
        with self._lock:
            ended, self._thread = self._thread, None
        if ended is not None:
            ended.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await asyncio.wrap_future(self._begun().started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def layers(self) -> str:
        """The layers of the sandbox in force, in one line. Starts the judge."""
        self.start()
        return self._begun().layers

    @property
    def missing_layers(self) -> dict[str, str]:
        """The layers that are not available here, with reasons. Starts the judge."""
        self.start()
        return self._begun().missing_layers

    def judge(self, text: str, task: Task, form: Form = "reply") -> Verdict:
        """Judge one text and wait for its verdict. Other threads may judge at the same time.

        Args:
            text: What the model wrote.
            task: The task that it answers.
            form: "reply" for raw text, "completion" for code that continues `task.prompt`, "solution" for a whole
                program.

        Raises:
            DataError: The task's tests cannot fail or name no function, or a different task has the same task_id.
            ConfigError: The task's language is not one of `languages`.
            SandboxError: The sandbox does not start, or it fails. This says nothing about the program.
        """
        return self.judge_all([text], task, form)[0]

    def judge_all(self, texts: Sequence[str], tasks: Task | Sequence[Task], form: Form = "reply") -> list[Verdict]:
        """Judge texts, `eval_workers` at a time, and return their verdicts in the same order.

        Args:
            texts: What the model wrote.
            tasks: One task for each text, or one for all.
            form: As in judge().

        Raises:
            ValueError: The numbers of texts and tasks differ, `texts` is a str, or `form` is unknown.
            DataError: As in judge().
            ConfigError: As in judge().
            SandboxError: As in judge().
        """
        return self.judge_completions(list(completions(texts, tasks, form)))

    async def judge_async(self, text: str, task: Task, form: Form = "reply") -> Verdict:
        """As judge(), without blocking the caller's event loop. Cancellation ends the program."""
        return (await self.judge_all_async([text], task, form))[0]

    async def judge_all_async(
        self, texts: Sequence[str], tasks: Task | Sequence[Task], form: Form = "reply"
    ) -> list[Verdict]:
        """As judge_all(), without blocking the caller's event loop. Cancellation ends the programs."""
        answers = list(completions(texts, tasks, form))
        thread = self._begun()
        await asyncio.wrap_future(thread.started)
        return await asyncio.wrap_future(thread.submit(thread.verdicts(answers)))

    def judge_completions(self, answers: Sequence[tuple[Completion, Task]]) -> list[Verdict]:
        """Judge completions that have a job_id, such as those of a run, each with its task. See judge_all()."""
        thread = self._begun()
        thread.started.result()
        return _result(thread.submit(thread.verdicts(answers)))

    def _begun(self) -> JudgeThread:
        """The thread of the judge in this process, which may still be starting."""
        with self._lock:
            if self._thread is None or self._thread.failed:
                watch(self, Judge._forget)
                thread = JudgeThread(self._config, self._languages)
                thread.start()
                self._last_resort = finalize(self, thread.request_stop)  # for a judge that is never closed
                self._last_resort.atexit = False  # then the sandbox ends by itself
                self._thread = thread
            return self._thread


def completions(texts: Sequence[str], tasks: Task | Sequence[Task], form: Form) -> Iterator[tuple[Completion, Task]]:
    """Yield a completion of agent 0, and its task, per text. The samples of a task are numbered from 0 on."""
    if isinstance(texts, str):
        raise ValueError("texts is a single text; give a list, or use judge()")
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; use {', '.join(FORMS)}")
    each = [tasks] * len(texts) if isinstance(tasks, Task) else tasks
    if len(each) != len(texts):
        raise ValueError(f"{len(texts)} texts and {len(each)} tasks; give one task for each text, or one for all")
    samples: Counter[str] = Counter()
    for text, task in zip(texts, each, strict=True):
        if not isinstance(text, str):
            raise DataError(f"task {task.task_id!r}: the text to judge is a {type(text).__name__}; give a str")
        readable, replaced = without_lone(text)
        job = Job(0, task.task_id, samples[task.task_id])
        samples[task.task_id] += 1
        yield Completion(job.job_id, readable, form, note=note(replaced)), task


def _result(judged: Future[list[Verdict]]) -> list[Verdict]:
    """Wait for verdicts; if the wait is interrupted, end the programs."""
    try:
        return judged.result()
    except CancelledError:
        raise SandboxError(CLOSED) from None
    except BaseException:
        judged.cancel()
        raise
