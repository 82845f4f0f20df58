"""The load generator: closed loops keep a fixed number of requests in flight; open loops ignore a slow server."""

import asyncio
import time
from itertools import islice, pairwise
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.loadtest.arrivals import Closed, Level, Open, poisson
from swarmeval.loadtest.generator import Measured, RequestResult, generate_load


class Server:
    """A server that answers after a delay, up to `rows` at once, and records its maximum concurrency."""

    def __init__(self, seconds: float, rows: int = 1_000) -> None:
        self._seconds = seconds
        self._rows = asyncio.Semaphore(rows)
        self.now = self.most = 0
        self.numbers: list[int] = []

    async def ask(self, number: int) -> RequestResult:
        self.numbers.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        async with self._rows:
            await asyncio.sleep(self._seconds / 2)
            first = time.perf_counter()
            await asyncio.sleep(self._seconds / 2)
        self.now -= 1
        return RequestResult(first, time.perf_counter(), 10, 5)


def run(level: Level, seconds: float = 0.01, rows: int = 1_000) -> tuple[list[Measured], Server]:
    async def go() -> tuple[list[Measured], Server]:
        server = Server(seconds, rows)
        return [measured async for measured in generate_load(level, server.ask)], server

    return asyncio.run(go())


@given(st.floats(0.1, 100), st.integers(0, 2**32))
def test_arrivals_have_their_rate_and_depend_only_on_the_seed(rate: float, seed: int) -> None:
    times = list(islice(poisson(rate, seed), 2000))
    assert times == sorted(times)
    assert times == list(islice(poisson(rate, seed), 2000))
    assert mean(later - earlier for earlier, later in pairwise(times)) == pytest.approx(1 / rate, rel=0.15)


def test_a_closed_loop_keeps_its_concurrency_and_sends_each_request_once() -> None:
    measured, server = run(Level(Closed(3), count=20))
    assert sorted(server.numbers) == list(range(20)) == sorted(one.number for one in measured)
    assert server.most == 3
    assert all(one.intended_s <= one.sent_s <= one.first_s <= one.last_s for one in measured if one.first_s is not None)
    assert all(
        one.tpot_s == pytest.approx((one.last_s - one.first_s) / 4) for one in measured if one.first_s is not None
    )


def test_an_open_loop_includes_the_wait_for_a_slow_server() -> None:
    measured, _ = run(Level(Open(200.0), count=20), seconds=0.02, rows=1)
    last = max(measured, key=lambda one: one.number)
    assert last.latency_s > 0.2  # 19 earlier requests took 20 ms each, and its scheduled start was about 0.1 s
    assert all(one.sent_s - one.intended_s < 0.1 for one in measured)


def test_a_limit_in_flight_delays_requests_but_not_their_intended_start() -> None:
    measured, server = run(Level(Open(500.0, most=1), count=10), seconds=0.02)
    assert server.most == 1
    last = max(measured, key=lambda one: one.number)
    assert last.latency_s > 0.1
    assert last.sent_s - last.intended_s > 0.1


def test_requests_that_start_in_the_warm_up_do_not_count() -> None:
    measured, _ = run(Level(Closed(2), seconds=0.1, warmup_s=0.05))
    assert {one.counts for one in measured} == {True, False}
    assert all(one.counts == (one.intended_s >= 0.05) for one in measured)
    assert all(one.intended_s < 0.1 for one in measured)


def test_a_level_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a level of load needs an end: seconds or a count$"):
        Level(Closed(1))
