"""The contract of all fleets, whatever their transport. Each claim is tested for each fleet.

A test module subclasses `FleetContract`, defines how its fleet is made, and inherits the claims.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from msgspec.structs import replace

from swarmeval.errors import WorkerDied
from swarmeval.requests import Answer, Message, Piece, Reply, Request, Sampling
from swarmeval.workers.protocol import Fleet, Worker

SLOW_STEPS = 40  # per answer of a slow fleet: long enough to drain, cancel or kill during an answer


def requests(count: int, first: int = 0) -> list[Request]:
    """Chat requests with different seeds."""
    message = Message("user", "```python\ndef f():\n```")
    return [Request(f"0/T/{k}/0", k, Sampling(8), messages=(message,)) for k in range(first, first + count)]


async def collect(worker: Worker, batch: list[Request]) -> list[Answer]:
    return [answer async for answer in worker.generate(batch)]


class FleetContract:
    """The claims. A subclass defines how its fleet is made and how a worker is killed."""

    rows = 4
    limit_s = 120.0  # per claim
    streams = True  # whether answers arrive in pieces
    seeded = True  # whether one seed always gives the same reply

    def fleet(self, slow: bool = False) -> AbstractAsyncContextManager[Fleet]:
        """A fleet of at least one unstarted worker. With `slow`, an answer takes about a second, `rows` at once."""
        raise NotImplementedError

    async def kill(self, worker: Worker) -> None:
        """Kill a running worker in the way typical of its kind."""
        raise NotImplementedError

    def with_worker(self, use: Callable[[Worker], Awaitable[None]], slow: bool = False) -> None:
        """Run `use` on a started worker of the fleet."""

        async def go() -> None:
            async with asyncio.timeout(self.limit_s), self.fleet(slow) as fleet:
                worker = fleet.workers[0]
                assert not worker.running
                info = await worker.start()
                assert worker.running
                assert info.rows >= 1
                await use(worker)

        asyncio.run(go())

    def test_every_request_is_answered_once_with_several_batches_in_flight(self) -> None:
        async def use(worker: Worker) -> None:
            sent = requests(40)
            groups = await asyncio.gather(*(collect(worker, sent[k : k + 8]) for k in range(0, 40, 8)))
            assert [sorted(answer.job_id for answer in group) for group in groups] == [
                sorted(request.job_id for request in sent[k : k + 8]) for k in range(0, 40, 8)
            ]
            for answer in (answer for group in groups for answer in group):
                assert isinstance(answer, Reply)
                assert answer.text
                assert answer.output_tokens >= 1
                assert 0 <= answer.queue_s <= answer.ttft_s <= answer.latency_s

        self.with_worker(use)

    def test_the_seed_arrives(self) -> None:
        if not self.seeded:
            pytest.skip("this engine has no seeds")

        async def use(worker: Worker) -> None:
            first = {answer.job_id: answer for answer in await collect(worker, requests(7))}
            again = {answer.job_id: answer for answer in await collect(worker, requests(7))}
            texts = {job_id: answer.text for job_id, answer in first.items() if isinstance(answer, Reply)}
            assert texts == {job_id: answer.text for job_id, answer in again.items() if isinstance(answer, Reply)}
            assert len(set(texts.values())) > 1

        self.with_worker(use)

    def test_a_streamed_request_tells_a_beginning_of_its_answer(self) -> None:
        async def use(worker: Worker) -> None:
            request = replace(requests(1)[0], stream=True)
            *pieces, reply = [item async for item in worker.stream(request)]
            assert bool(pieces) == self.streams
            assert isinstance(reply, Reply)
            assert all(isinstance(piece, Piece) for piece in pieces)
            assert reply.text.startswith("".join(piece.text for piece in pieces if isinstance(piece, Piece)))

        self.with_worker(use, slow=True)

    def test_draining_answers_what_has_begun_and_ends_the_batch(self) -> None:
        async def use(worker: Worker) -> None:
            answers: list[Answer] = []
            async for answer in worker.generate(requests(50)):
                if not answers:
                    await worker.drain()
                answers.append(answer)
            assert 1 <= len(answers) < 50
            assert len({answer.job_id for answer in answers}) == len(answers)

        self.with_worker(use, slow=True)

    def test_a_batch_given_up_frees_its_rows(self) -> None:
        async def use(worker: Worker) -> None:
            given_up = asyncio.create_task(collect(worker, requests(1000)))
            await asyncio.sleep(0.2)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            assert len(await collect(worker, requests(4, first=2000))) == 4  # within the test's time limit

        self.with_worker(use, slow=True)

        self.with_worker(use, slow=True)

    def test_stopping_ends_the_batches_and_a_new_start_answers(self) -> None:
        async def use(worker: Worker) -> None:
            ends = asyncio.gather(collect(worker, requests(8)), return_exceptions=True)
            await asyncio.sleep(0.2)
            await worker.stop()
            await worker.stop()
            assert not worker.running
            assert isinstance((await ends)[0], WorkerDied)
            with pytest.raises(WorkerDied):
                await collect(worker, requests(1))
            await worker.start()
            assert len(await collect(worker, requests(4))) == 4

        self.with_worker(use, slow=True)

    def test_a_killed_worker_ends_its_batches_and_starts_again(self) -> None:
        async def use(worker: Worker) -> None:
            ends = asyncio.gather(collect(worker, requests(8)), return_exceptions=True)
            await asyncio.sleep(0.2)
            await self.kill(worker)
            assert isinstance((await ends)[0], WorkerDied)
            assert not worker.running
            await worker.start()
            assert len(await collect(worker, requests(4))) == 4

        self.with_worker(use, slow=True)
