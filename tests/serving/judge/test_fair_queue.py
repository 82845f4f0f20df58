"""Clients of the judge take turns, and no turn is lost or given twice."""

import asyncio
import gc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.serving.judge.fair_queue import FairQueue


def served(clients: str, turns: int = 1) -> list[str]:
    """The order in which clients get turns that they all ask for at once, one letter per turn."""
    order: list[str] = []

    async def one(queue: FairQueue, client: str) -> None:
        async with queue.turn(client):
            order.append(client)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        queue = FairQueue(turns)
        await asyncio.gather(*(one(queue, client) for client in clients))
        assert queue.waiting == 0

    asyncio.run(all_of_them())
    return order


def test_a_client_with_one_item_waits_for_no_batch() -> None:
    assert "".join(served("aaaaab")) == "aabaaa"
    assert "".join(served("aaaabbbbc")) == "aabcababb"


def test_turns_of_one_client_come_in_order() -> None:
    async def numbers() -> list[int]:
        queue, order = FairQueue(1), []

        async def one(number: int) -> None:
            async with queue.turn("a"):
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*map(one, range(9)))
        return order

    assert asyncio.run(numbers()) == list(range(9))


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    def futures() -> int:
        gc.collect()
        return sum(type(found) is asyncio.Future for found in gc.get_objects())

    async def session() -> None:
        queue = FairQueue(1)
        async with queue.turn("a"):
            before = futures()
            waiting = [asyncio.ensure_future(queue.turn("b").__aenter__()) for _ in range(50)]
            await asyncio.sleep(0)
            assert (queue.waiting, queue.waiting_of("b")) == (50, 50)
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert (queue.waiting, queue.waiting_of("b")) == (0, 0)
            del waiting, one
            await asyncio.sleep(0)  # the loop still holds their callbacks
            assert futures() < before + 10

    asyncio.run(session())


@pytest.mark.slow
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.booleans()), max_size=30),
    turns=st.integers(1, 3),
)
def test_no_turn_is_lost_or_given_twice(steps: Sequence[tuple[str, int, bool]], turns: int) -> None:
    async def session() -> None:
        queue, held = FairQueue(turns), 0

        async def one(client: str, loops: int) -> None:
            nonlocal held
            async with queue.turn(client):
                held += 1
                assert held <= turns
                try:
                    for _ in range(loops):
                        await asyncio.sleep(0)
                finally:
                    held -= 1

        tasks = []
        for client, loops, is_cancelled in steps:
            tasks.append(asyncio.create_task(one(client, loops)))
            for _ in range(loops % 3):
                await asyncio.sleep(0)
            if is_cancelled:
                tasks[loops % len(tasks)].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (queue.waiting, held) == (0, 0)
        async with asyncio.timeout(5):  # all turns are free again
            for number in range(turns):
                await queue.turn(str(number)).__aenter__()

    asyncio.run(session())
