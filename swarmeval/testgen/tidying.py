"""The test files of a run once more through the model that wrote their tests, before they are weighed.

Files that hold tests of several functions were merged from replies that knew nothing of one another. What the model
makes of such a file takes its place only where that is safe (see accepting); why it did not is noted in
generated_tests.jsonl, as is that it did. Ended at any moment, each file is the old or the new one, and the lines say
which.
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
MOST_PENDING = 2 * MOST_AT_ONCE  # lines: the next are asked about while the first waits for its answer


def is_merged(line: test_index.IndexLine) -> bool:
    """Whether its test file was put together from what was written for several functions."""
    return line.file is not None and len({test.function_id for test in line.tests}) > 1


@dataclass(slots=True)
class TidyingProgress:
    """How many merged files there are, and how many were tidied."""

    files: int  # that are merged
    taken: int = 0  # of those, tidied

    def __str__(self) -> str:
        return f"{self.taken} of {self.files}"


def count_merged(run: Path) -> TidyingProgress:
    """Of a run whose files are still to be tidied. Raises DataError or OutputError."""
    return TidyingProgress(sum(is_merged(line) for line in test_index.read(run)))


Tidied = Combined | str  # what takes a file's place, or why it stays; "": it is none to tidy
Begun = deque[tuple[test_index.IndexLine, asyncio.Task[Tidied]]]  # in the order of the lines


async def tidy(
    run: Path, pool: Pool, builder: RequestBuilder, progress: TidyingProgress, on_ended: Callable[[], object]
) -> None:
    """Tidy all merged test files of a run, a few at once; `on_ended` is called after each.

    Raises OutputError, DataError and CancelledError; what a model or a server did wrong is noted with its file.
    """
    if not progress.files:
        return
    begun, noted = Begun(), 0
    cut: OutputError | asyncio.CancelledError | None = None
    try:
        with test_index.rewrite(run) as note:

            def settle(tidied: Tidied) -> None:
                """The first that begun, without a wait within: its file and its line change together."""
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
    """Settle all lines in their order; those that begun wait in `begun`."""
    for line in lines:
        begun.append((line, asyncio.create_task(tidier.tidied(line))))
        if len(begun) == MOST_PENDING:
            settle(await begun[0][1])
    while begun:
        settle(await begun[0][1])


def apply_tidied(run: Path, line: test_index.IndexLine, tidied: Tidied) -> test_index.IndexLine:
    """Put what was tidied into its place, if anything was; the line to note. Raises OutputError."""
    if isinstance(tidied, str):
        return msgspec.structs.replace(line, tidied=tidied)
    return test_index.replace_tests(run, line, tidied)


class Tidier:
    """Asks the model, as many times at once as it has rows, and no more than a few."""

    def __init__(self, run: Path, pool: Pool, builder: RequestBuilder) -> None:
        self._run = run
        self._pool = pool
        self._builder = builder
        self._room = asyncio.Semaphore(max(1, min(pool.rows, MOST_AT_ONCE)))

    async def tidied(self, line: test_index.IndexLine) -> Tidied:
        """What becomes of a line's file. Raises OutputError where that is gone."""
        if line.file is None or not is_merged(line):
            return ""
        async with self._room:
            before = test_index.combined(self._run, line)
            if why := self._builder.too_long(line.module, before.source):
                return why
            try:
                reply = await self._request_code(self._builder.tidying(line.file, line.module, before.source))
                # In a thread: a long reply takes its time to read, and others' answers come meanwhile.
                return await asyncio.to_thread(accept, before, reply)
            except Unsafe as error:
                return str(error)

    async def _request_code(self, request: Request) -> str:
        """The code that a request is answered with; Unsafe where it is not, or not whole."""
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
            raise Unsafe("no answer came")
        if answer.finish_reason != "stop":
            raise Unsafe(f"the answer is not whole ({answer.finish_reason})")
        return self._builder.tidied(answer.text)
