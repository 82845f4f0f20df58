"""Work in threads: its result, its errors, and what a cancelled wait leaves behind."""

import asyncio
import threading

import pytest

from swarmeval.in_thread import in_thread


def test_results_and_errors_come_back() -> None:
    assert asyncio.run(in_thread(int, "12", base=5)) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(in_thread(int, "x"))


def test_a_cancelled_wait_ends_with_the_work_and_not_before() -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert end.wait(10)

    async def session() -> None:
        waiting = asyncio.ensure_future(in_thread(work))
        await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(session())
