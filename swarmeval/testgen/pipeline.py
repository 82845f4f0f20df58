"""Runs one load level: requests tests for functions, writes test files, and measures every request once.

Independent of settings and report. The caller provides the pool and the callbacks.
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
from swarmeval.loadtest.generator import Measured, RequestResult, generate_load
from swarmeval.loadtest.request_rows import RequestRow
from swarmeval.requests import Piece, Reply, Request
from swarmeval.serving.errors import Unready
from swarmeval.serving.pool import Pool
from swarmeval.testgen import test_index
from swarmeval.testgen.files import TestFiles, WrittenModule
from swarmeval.testgen.model_requests import RequestBuilder
from swarmeval.testgen.workload import WorkItem, Workload

PAUSE_S = 1.0  # back-off of a client after a failed request


@dataclass(frozen=True, slots=True)
class PipelineCallbacks:
    """Callbacks for the results of a load run."""

    on_row: Callable[[RequestRow], None]
    on_module: Callable[[test_index.IndexLine], None]
    on_ended: Callable[[Measured], None]  # at the end of a request; on_row follows once the test file is written


@dataclass(frozen=True, slots=True)
class PendingReply:
    """The reply to a request whose measurement is pending."""

    item: WorkItem
    received_at: float  # time.perf_counter() of this process
    code: str | None


class Pipeline:
    """Generates the test files of a workload with a pool of replicas."""

    def __init__(
        self,
        pool: Pool,
        builder: RequestBuilder,
        workload: Workload,
        folder: Path,
        names: dict[str, str],
        callbacks: PipelineCallbacks,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`names` maps modules to test file names (see swarmeval.testgen.files.file_names)."""
        self._pool = pool
        self._builder = builder
        self._workload = workload
        self._folder = folder
        self._names = names
        self._callbacks = callbacks
        self._pause_s = pause_s
        self._pending: dict[int, PendingReply] = {}
        self._files: dict[int, TestFiles] = {}  # per round
        self._rows: dict[tuple[int, str], list[RequestRow]] = {}  # rows that wait for their test file

    async def run_level(self, level: Level, seed: int) -> None:
        """Generate this load until it ends, and write the results, also if interrupted.

        Raises OutputError, and the UserError that makes the pool fail permanently, possibly in an exception group.
        """
        name = str(level.pattern)
        try:
            with ThreadPoolExecutor(1, "combining") as thread:
                async with aclosing(generate_load(level, lambda number: self._send(name, number), seed)) as ended:
                    async for measured in ended:
                        self._callbacks.on_ended(measured)
                        pending = self._pending.pop(measured.number)
                        self._rows.setdefault(pending.item.key, []).append(_row(name, pending.item, measured))
                        await run_to_end(self._store_reply(name, pending, measured, thread))
        finally:
            self._workload.skip_rest_of_module()
            self._pending.clear()
            for number, files in self._files.items():
                for written in files.finish(test_index.NOT_REQUESTED):
                    self._finish_module(name, (number, written.module.name), written, None)
            self._files.clear()

    async def _send(self, level: str, number: int) -> RequestResult:
        item = await self._workload.next()
        if item.round not in self._files:
            self._files[item.round] = TestFiles(test_index.folder(self._folder, item.round), self._names)
        if item.is_first:
            self._files[item.round].begin(item.module)
        result, text = await self._request_reply(self._builder.request(item.context, level, number))
        self._pending[number] = PendingReply(item, result.last_at, text)
        if result.error is not None:
            if self._pool.failure is not None:
                raise self._pool.failure
            await asyncio.sleep(self._pause_s)
        return result

    async def _request_reply(self, request: Request) -> tuple[RequestResult, str | None]:
        """Send a request; return its measurements and the code of its reply."""
        sent_at = time.perf_counter()
        first_at: float | None = None
        error = "no answer"
        try:
            async with aclosing(self._pool.stream(request)) as items:
                async for item in items:
                    now = time.perf_counter()
                    if isinstance(item, Piece):
                        first_at = first_at or now
                    elif isinstance(item, Reply):
                        first_at = first_at or min(now, sent_at + item.ttft_s)
                        result = RequestResult(
                            first_at, now, item.prompt_tokens, item.output_tokens, computed_tokens=item.computed_tokens
                        )
                        return result, self._builder.code(item.text)
                    else:
                        error = item.reason
        except WorkerDied as death:
            error = str(death)
        except Unready:
            error = "no replica was ready"
        return RequestResult(None, time.perf_counter(), None, None, error), None

    async def _store_reply(self, level: str, pending: PendingReply, measured: Measured, thread: Executor) -> None:
        """Add a reply to its module; finish the module if this was its last reply."""
        files, context = self._files[pending.item.round], pending.item.context
        if pending.code is None:
            store = functools.partial(files.fail, context, measured.error or "no reply")
        else:
            store = functools.partial(files.answer, context, pending.code)
        if files.is_last(context):  # combining may take a second, and must not delay other measurements
            written = await asyncio.get_running_loop().run_in_executor(thread, store)
        else:
            written = store()
        if written is not None:
            level_began = pending.received_at - measured.last_s
            self._finish_module(level, pending.item.key, written, time.perf_counter() - level_began)

    def _finish_module(self, level: str, key: tuple[int, str], written: WrittenModule, written_s: float | None) -> None:
        """Report a finished module. `written_s` is the time when its file was written; None if interrupted."""
        for row in self._rows.pop(key, ()):
            whole = row.request.error is None and written.path is not None
            self._callbacks.on_row(replace(row, written_s=written_s if whole else None))
        self._callbacks.on_module(test_index.line(self._folder, level, written))


def _row(level: str, item: WorkItem, measured: Measured) -> RequestRow:
    kind = "method" if "." in item.context.qualname else "function"
    return RequestRow(level, measured, item.context.package, item.context.module, item.context.qualname, kind=kind)


async def run_to_end(work: Coroutine[object, object, None]) -> None:
    """Await work to its end even if the caller is cancelled, because it must not be lost."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
