"""The lag of the event loop: it shows blocking code, but not waiting."""

import asyncio
import time

import pytest

from swarmeval.monitor.loop_lag import EVERY_S, LoopLag


@pytest.mark.slow
def test_a_blocked_loop_is_late_and_a_waiting_one_is_not() -> None:
    lag = LoopLag()

    async def session() -> tuple[float | None, float | None, float | None]:
        async with lag.sampled():
            await asyncio.sleep(1.2 * EVERY_S)
            quiet = lag.take()
            until = time.monotonic() + 2 * EVERY_S
            while time.monotonic() < until:  # blocks the loop
                pass
            await asyncio.sleep(0.2 * EVERY_S)
            return quiet, lag.take(), lag.take()

    quiet, blocked, unseen = asyncio.run(session())
    assert quiet is not None
    assert blocked is not None
    assert 0 <= quiet < 500 * EVERY_S
    assert 1000 * EVERY_S < blocked < 4000 * EVERY_S
    assert lag.worst_ms == blocked
    assert unseen is None
