"""Lets the model tidy the merged test files of a run before they are evaluated.

Files with tests of several functions were merged from independent replies. The tidied version replaces such a file only
if that is safe (see tidied_check.py). generated_tests.jsonl records the result and the reason. If interrupted, each
file is either the old or the new one, and its line says which.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from swarmeval.errors import OutputError, SwarmevalError
from swarmeval.requests import Refusal, Reply, Request
from swarmeval.secrets import scrub
from swarmeval.serving.errors import Unready
from swarmeval.serving.pool import Pool
from swarmeval.testgen import test_index
from swarmeval.testgen.combine import Combined
from swarmeval.testgen.model_requests import RequestBuilder
from swarmeval.testgen.tidied_check import Unsafe, accept

MOST_AT_ONCE = 8
MOST_PENDING = 2 * MOST_AT_ONCE  # lines in progress, so that later requests do not wait for the first reply


def is_merged(line: test_index.IndexLine) -> bool:
    """Whether a line's test file was merged from the replies for several functions."""
    return line.file is not None and len({test.function_id for test in line.tests}) > 1


@dataclass(slots=True)
class TidyingProgress:
    """Number of merged files, and of those tidied so far."""

    files: int  # merged files
    taken: int = 0  # files replaced by their tidied version

    def __str__(self) -> str:
        return f"{self.taken} of {self.files}"


def count_merged(run: Path) -> TidyingProgress:
    """Count the merged files of a run before tidying. Raises DataError or OutputError."""
    return TidyingProgress(sum(is_merged(line) for line in test_index.read(run)))


Tidied = Combined | str  # the new file, or the reason for keeping the old one; "" if it is not merged
Begun = deque[tuple[test_index.IndexLine, asyncio.Task[Tidied]]]  # in line order


async def tidy(
    run: Path, pool: Pool, builder: RequestBuilder, progress: TidyingProgress, on_ended: Callable[[], object]
) -> None:
    """Tidy all merged test files of a run, a few at a time; `on_ended` is called after each.

    Raises OutputError, DataError and CancelledError. Errors of the model or a server are recorded with the file.
    """
    if not progress.files:
        return
    begun, noted = Begun(), 0
    cut: OutputError | asyncio.CancelledError | None = None
    try:
        with test_index.rewrite(run) as note:

            def settle(tidied: Tidied) -> None:
                """Finish the first line. Does not await, so that its file and its line change together."""
                nonlocal noted
                line = begun[0][0]
                note(apply_tidied(run, line, tidied))
                noted += 1
                begun.popleft()
                if is_merged(line):
                    progress.taken += not isinstance(tidied, str)
                    on_ended()

            try:
                await _each(test_index.read(run), begun, Tidier(run, pool, builder), settle)
            except (OutputError, asyncio.CancelledError) as error:
                cut = error
                for line in islice(test_index.read(run), noted, None):
                    note(line)
    finally:
        for _, task in begun:
            task.cancel()
        await asyncio.gather(*(task for _, task in begun), return_exceptions=True)
    if cut is not None:
        raise cut


async def _each(
    lines: Iterator[test_index.IndexLine], begun: Begun, tidier: "Tidier", settle: Callable[[Tidied], None]
) -> None:
    """Start and settle all lines in order; `begun` holds those in progress."""
    for line in lines:
        begun.append((line, asyncio.create_task(tidier.tidied(line))))
        if len(begun) == MOST_PENDING:
            settle(await begun[0][1])
    while begun:
        settle(await begun[0][1])


def apply_tidied(run: Path, line: test_index.IndexLine, tidied: Tidied) -> test_index.IndexLine:
    """Replace a file by its tidied version, if there is one; return the updated line. Raises OutputError."""
    if isinstance(tidied, str):
        return msgspec.structs.replace(line, tidied=tidied)
    return test_index.replace_tests(run, line, tidied)


class Tidier:
    """Sends tidying requests to the model, limited by its rows and MOST_AT_ONCE."""

    def __init__(self, run: Path, pool: Pool, builder: RequestBuilder) -> None:
        self._run = run
        self._pool = pool
        self._builder = builder
        self._room = asyncio.Semaphore(max(1, min(pool.rows, MOST_AT_ONCE)))

    async def tidied(self, line: test_index.IndexLine) -> Tidied:
        """Tidy the file of one line. Raises OutputError if the file is missing."""
        if line.file is None or not is_merged(line):
            return ""
        async with self._room:
            before = test_index.combined(self._run, line)
            if why := self._builder.too_long(line.module, before.source):
                return why
            try:
                reply = await self._request_code(self._builder.tidying(line.file, line.module, before.source))
                # In a thread, because reading a long reply takes time while other answers arrive.
                return await asyncio.to_thread(accept, before, reply)
            except Unsafe as error:
                return str(error)

    async def _request_code(self, request: Request) -> str:
        """The code of the reply to a request. Raises Unsafe if there is none or it is truncated."""
        answer: Reply | Refusal | None = None
        try:
            await self._pool.until_ready()
            async with aclosing(self._pool.stream(request)) as items:
                async for item in items:
                    answer = item if isinstance(item, Reply | Refusal) else answer
        except (SwarmevalError, Unready) as error:
            raise Unsafe(scrub(str(error))) from None
        if isinstance(answer, Refusal):
            raise Unsafe(scrub(answer.reason))
        if answer is None:
            raise Unsafe("no answer")
        if answer.finish_reason != "stop":
            raise Unsafe(f"the answer is incomplete ({answer.finish_reason})")
        return self._builder.tidied(answer.text)
