"""One level of load: functions -> requests -> replies -> test files, each request measured and told once.

Knows no settings and no report; whoever calls says who answers, and whom to tell.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from swarmeval.errors import WorkerDied
from swarmeval.loadtest.arrivals import Level
from swarmeval.loadtest.generator import Measured, Told, under
from swarmeval.loadtest.request_rows import Row
from swarmeval.requests import Piece, Reply, Request
from swarmeval.serving.errors import Unready
from swarmeval.serving.pool import Pool
from swarmeval.testgen import test_index
from swarmeval.testgen.files import TestFiles, Written
from swarmeval.testgen.model_requests import Asking
from swarmeval.testgen.workload import Turn, Workload

PAUSE_S = 1.0  # of a client whose request failed, as any client with manners makes one


@dataclass(frozen=True, slots=True)
class Tellings:
    """Who hears of what a load run makes, as it is made."""

    row: Callable[[Row], None]
    line: Callable[[test_index.Line], None]
    ended: Callable[[Measured], None]  # at once; the row waits for its test file


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one request besides what is measured."""

    turn: Turn
    at: float  # by the clock of the one who asked
    text: str | None


class Pipeline:
    """Test files of a workload, as a pool answers for it."""

    def __init__(
        self,
        pool: Pool,
        asking: Asking,
        workload: Workload,
        folder: Path,
        names: dict[str, str],
        tellings: Tellings,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`names` are those of the test files (see swarmeval.testgen.files.file_names)."""
        self._pool = pool
        self._asking = asking
        self._workload = workload
        self._folder = folder
        self._names = names
        self._tellings = tellings
        self._pause_s = pause_s
        self._heard: dict[int, Heard] = {}
        self._files: dict[int, TestFiles] = {}  # by round
        self._rows: dict[tuple[int, str], list[Row]] = {}  # that wait for their test file

    async def under(self, level: Level, seed: int) -> None:
        """Put this load on the pool until it ends, and write what came of it; the same when it is cut short.

        Raises OutputError, and the UserError for which nobody will ever answer; in a group where others wait.
        """
        name = str(level.pattern)
        try:
            with ThreadPoolExecutor(1, "combining") as thread:
                async with aclosing(under(level, lambda number: self._ask(name, number), seed)) as ended:
                    async for measured in ended:
                        self._tellings.ended(measured)
                        heard = self._heard.pop(measured.number)
                        self._rows.setdefault(heard.turn.key, []).append(_row(name, heard.turn, measured))
                        await finished(self._take(name, heard, measured, thread))
        finally:
            self._workload.cut()
            self._heard.clear()
            for number, files in self._files.items():
                for written in files.finish(test_index.NOT_ASKED):
                    self._tell(name, (number, written.module.name), written, None)
            self._files.clear()

    async def _ask(self, level: str, number: int) -> Told:
        turn = await self._workload.next()
        if turn.round not in self._files:
            self._files[turn.round] = TestFiles(test_index.folder(self._folder, turn.round), self._names)
        if turn.begins:
            self._files[turn.round].begin(turn.module)
        told, text = await self._answered(self._asking.request(turn.context, level, number))
        self._heard[number] = Heard(turn, told.last_at, text)
        if told.error is not None:
            if self._pool.failure is not None:
                raise self._pool.failure
            await asyncio.sleep(self._pause_s)
        return told

    async def _answered(self, request: Request) -> tuple[Told, str | None]:
        """What came of a request, and the code that it was answered with."""
        asked_at = time.perf_counter()
        first_at: float | None = None
        error = "no answer came"
        try:
            async with aclosing(self._pool.stream(request)) as items:
                async for item in items:
                    now = time.perf_counter()
                    if isinstance(item, Piece):
                        first_at = first_at or now
                    elif isinstance(item, Reply):
                        first_at = first_at or min(now, asked_at + item.ttft_s)
                        return Told(first_at, now, item.prompt_tokens, item.output_tokens), self._asking.code(item.text)
                    else:
                        error = item.reason
        except WorkerDied as death:
            error = str(death)
        except Unready:
            error = "no replica was ready"
        return Told(None, time.perf_counter(), None, None, error), None

    async def _take(self, level: str, heard: Heard, measured: Measured, thread: Executor) -> None:
        """Give the reply to its module; tell of it, if this was the last answer for it."""
        files, context = self._files[heard.turn.round], heard.turn.context
        if heard.text is None:
            take = functools.partial(files.fail, context, measured.error or "no reply")
        else:
            take = functools.partial(files.answer, context, heard.text)
        if files.is_last(context):  # a module's replies may take a second to combine, and others' clocks run
            written = await asyncio.get_running_loop().run_in_executor(thread, take)
        else:
            written = take()
        if written is not None:
            level_began = heard.at - measured.last_s
            self._tell(level, heard.turn.key, written, time.perf_counter() - level_began)

    def _tell(self, level: str, key: tuple[int, str], written: Written, at_s: float | None) -> None:
        """A module is done; `at_s` says when its file was there, unless it was cut short."""
        for row in self._rows.pop(key, ()):
            whole = row.asked.error is None and written.path is not None
            self._tellings.row(replace(row, written_s=at_s if whole else None))
        self._tellings.line(test_index.line(self._folder, level, written))


def _row(level: str, turn: Turn, measured: Measured) -> Row:
    kind = "method" if "." in turn.context.qualname else "function"
    return Row(level, measured, turn.context.package, turn.context.module, turn.context.qualname, kind=kind)


async def finished(work: Coroutine[object, object, None]) -> None:
    """Do it whole, even when whoever waits for it is cancelled meanwhile: it holds what is not to be lost."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
