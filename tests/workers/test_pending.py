"""A worker's answers reach the batch that requested them, in any order; a death or silence reaches all batches."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from swarmeval.errors import WorkerDied, WorkerGone
from swarmeval.requests import Answer, Message, Piece, Refusal, Reply, Request, Sampling, WorkerProgress
from swarmeval.workers.pending import Pending
from swarmeval.workers.wire import Answers, Cancel, Dropped, NotEncodable, Pieces, Submit, frame


def request(job_id: str) -> Request:
    return Request(job_id, 0, Sampling(8), text="x")


def reply(job_id: str) -> Reply:
    return Reply(job_id, f"of {job_id}", 1, 1, 0.0, 0.0, 0.0, "stop")


async def collect(pending: Pending, *job_ids: str) -> list[Answer]:
    return [answer async for answer in pending.answers([request(job_id) for job_id in job_ids])]


def during(use: Callable[[Pending, list[Submit | Cancel]], Awaitable[None]]) -> None:
    async def go() -> None:
        sent: list[Submit | Cancel] = []
        async with asyncio.timeout(5):
            await use(Pending(sent.append), sent)

    asyncio.run(go())


def test_answers_go_to_the_batch_that_requested_them() -> None:
    async def use(pending: Pending, sent: list[Submit | Cancel]) -> None:
        first, second = asyncio.create_task(collect(pending, "a", "b")), asyncio.create_task(collect(pending, "c"))
        await asyncio.sleep(0)
        assert sent == [Submit((request("a"), request("b"))), Submit((request("c"),))]
        pending.receive(Answers((reply("b"), reply("c"))))
        pending.receive(Answers((reply("stranger"), reply("b"), reply("a"))))
        assert await first == [reply("b"), reply("a")]
        assert await second == [reply("c")]

    during(use)


def test_dropped_requests_end_their_batch() -> None:
    async def use(pending: Pending, sent: list[Submit | Cancel]) -> None:
        batch = asyncio.create_task(collect(pending, "a", "b"))
        await asyncio.sleep(0)
        pending.receive(Dropped(("b", "stranger")))
        pending.receive(Answers((reply("a"),)))
        assert await batch == [reply("a")]

    during(use)


def test_a_death_ends_all_batches_and_refuses_later_ones() -> None:
    async def use(pending: Pending, sent: list[Submit | Cancel]) -> None:
        batches = [asyncio.create_task(collect(pending, name)) for name in "ab"]
        await asyncio.sleep(0)
        pending.die(WorkerDied("the first death"))
        pending.die(WorkerDied("the second"))
        for end in await asyncio.gather(*batches, return_exceptions=True):
            assert isinstance(end, WorkerDied)
            assert str(end) == "the first death"
        with pytest.raises(WorkerGone, match=r"^the first death$"):
            await collect(pending, "c")
        assert len(sent) == 2

    during(use)


def test_silence_counts_only_with_work_to_do_and_ends_with_any_message() -> None:
    async def use(pending: Pending, sent: list[Submit | Cancel]) -> None:
        silence = asyncio.create_task(pending.wait_for_silence(0.05))
        await asyncio.sleep(0.1)
        assert not silence.done()  # the worker is idle
        batch = asyncio.create_task(collect(pending, "a"))
        for _ in range(5):
            await asyncio.sleep(0.02)
            pending.receive(WorkerProgress(rows_in_use=1, waiting=0, output_tokens=0))
        assert not silence.done()
        await silence
        batch.cancel()

    during(use)


def test_pieces_precede_the_answer_and_only_if_requested() -> None:
    async def use(pending: Pending, sent: list[Submit | Cancel]) -> None:
        async def stream() -> list[Piece | Answer]:
            return [item async for item in pending.items([request("a")])]

        streamed, whole = asyncio.create_task(stream()), asyncio.create_task(collect(pending, "b"))
        await asyncio.sleep(0)
        pieces = [Piece("a", "of", 1, 5), Piece("b", "of", 1, 5), Piece("stranger", "x", 1, 5)]
        pending.receive(Pieces(tuple(pieces)))
        pending.receive(Answers((reply("a"), reply("b"))))
        assert await streamed == [pieces[0], reply("a")]
        assert await whole == [reply("b")]

    during(use)


def test_requests_that_nobody_awaits_any_more_are_cancelled() -> None:
    async def use(pending: Pending, sent: list[Submit | Cancel]) -> None:
        batch = asyncio.create_task(collect(pending, "a", "b"))
        await asyncio.sleep(0)
        pending.receive(Answers((reply("b"),)))
        await asyncio.sleep(0)
        batch.cancel()
        await asyncio.gather(batch, return_exceptions=True)
        assert sent[1:] == [Cancel(("a",))]

    during(use)


BAD_SEED = Request("bad", 2**64, Sampling(8), text="x")
BAD_TOP_K = Request("bad", 0, Sampling(8, top_k=10**29), text="x")
BAD_TEXT = Request("bad", 0, Sampling(8), text="half \ud83d")
BAD_CHAT = Request("bad", 0, Sampling(8), (Message("user", "\udc00"),))
BAD_STOP = Request("bad", 0, Sampling(8, stop=("\udfff",)), text="x")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (BAD_SEED, "an integer does not fit into 64 bits"),
        (BAD_TOP_K, "an integer does not fit into 64 bits"),
        (BAD_TEXT, "a lone surrogate, \\ud83d, is not valid text"),
        (BAD_CHAT, "a lone surrogate, \\udc00, is not valid text"),
        (BAD_STOP, "a lone surrogate, \\udfff, is not valid text"),
    ],
)
def test_a_request_that_cannot_be_encoded_is_refused_and_not_awaited(bad: Request, reason: str) -> None:
    async def go() -> None:
        sent: list[Submit | Cancel] = []

        def send(message: Submit | Cancel) -> None:
            frame(message)
            sent.append(message)

        pending = Pending(send)
        async with asyncio.timeout(5):
            alone = [answer async for answer in pending.answers([bad])]
            assert alone == [Refusal("bad", f"the request cannot be sent: {reason}", retry=False)]
            assert sent == []
            silence = asyncio.create_task(pending.wait_for_silence(0.05))
            await asyncio.sleep(0.1)
            assert not silence.done()  # an idle worker is not blamed for requests it never got
            silence.cancel()
            items = pending.answers([request("a"), bad, request("b")])
            assert await anext(items) == alone[0]
            assert sent == [Submit((request("a"),)), Submit((request("b"),))]
            pending.receive(Answers((reply("b"), reply("a"))))
            assert [answer async for answer in items] == [reply("b"), reply("a")]

    asyncio.run(go())


def test_a_message_too_long_for_its_header_is_not_encodable() -> None:
    with pytest.raises(NotEncodable, match=r"^a message of 53 bytes is too long to send$"):
        frame(Cancel(("x" * 30,)), most_bytes=50)
