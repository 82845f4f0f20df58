"""The unanswered requests of one worker process. Does not know how messages are carried."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from swarmeval.errors import WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, Refusal, Request
from swarmeval.workers.wire import Answers, Cancel, Dropped, FromWorker, NotEncodable, Pieces, Submit

Inbox = asyncio.Queue[Answer | Piece | Dropped | WorkerDied]


class Pending:
    """Delivers every answer to the batch that waits for it, and a worker's death to all batches."""

    def __init__(self, send: Callable[[Submit | Cancel], None]) -> None:
        """`send` queues a message and returns at once. If it raises NotEncodable, it has sent nothing."""
        self._send = send
        self._inboxes: dict[str, Inbox] = {}  # by job id
        self.death: WorkerDied | None = None
        self._alive_at = 0.0

    async def answers(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Submit the requests and yield their answers as they arrive, none for dropped ones. Raises WorkerDied.

        A request that cannot be encoded is refused; the rest of its batch is sent.
        """
        async with aclosing(self.items(requests)) as items:
            async for item in items:
                if not isinstance(item, Piece):
                    yield item

    async def items(self, requests: Sequence[Request]) -> AsyncGenerator[Piece | Answer, None]:
        """Like `answers`, but with the pieces of streamed answers. Closing it early cancels the unanswered requests."""
        if self.death is not None:
            raise WorkerGone(str(self.death))
        if not self._inboxes:
            self.mark_alive()
        inbox: Inbox = asyncio.Queue()
        refusals = self._submit(requests)  # before registering: requests that were not sent must not be waited for
        unanswered = {request.job_id for request in requests} - {refusal.job_id for refusal in refusals}
        self._inboxes.update((job_id, inbox) for job_id in unanswered)
        try:
            for refusal in refusals:
                yield refusal
            while unanswered:
                item = await inbox.get()
                if isinstance(item, WorkerDied):
                    raise item
                if isinstance(item, Dropped):
                    unanswered.difference_update(item.job_ids)
                    continue
                if not isinstance(item, Piece):
                    unanswered.discard(item.job_id)
                yield item
        finally:
            given_up = [job_id for job_id in unanswered if self._inboxes.pop(job_id, None) is not None]
            if given_up and self.death is None:
                self._send(Cancel(tuple(given_up)))

    def _submit(self, requests: Sequence[Request]) -> list[Refusal]:
        """Send the requests; refuse those that cannot be encoded."""
        try:
            self._send(Submit(tuple(requests)))
        except NotEncodable as error:
            if len(requests) == 1:
                return [Refusal(requests[0].job_id, f"the request cannot be sent: {error}", retry=False)]
            return [refusal for request in requests for refusal in self._submit([request])]
        return []

    def mark_alive(self) -> None:
        """Note a sign of life of the worker."""
        self._alive_at = asyncio.get_running_loop().time()

    def receive(self, message: FromWorker) -> None:
        """Deliver a message of the worker. Every message counts as a sign of life."""
        self.mark_alive()
        match message:
            case Answers(answers):
                for answer in answers:
                    if inbox := self._inboxes.pop(answer.job_id, None):
                        inbox.put_nowait(answer)
            case Pieces(pieces):
                for piece in pieces:
                    if inbox := self._inboxes.get(piece.job_id):
                        inbox.put_nowait(piece)
            case Dropped(job_ids):
                for inbox in {self._inboxes.pop(job_id) for job_id in job_ids if job_id in self._inboxes}:
                    inbox.put_nowait(message)

    def die(self, death: WorkerDied) -> None:
        """Fail every current and future batch. Only the first reported death counts."""
        if self.death is None:
            self.death = death
        for inbox in set(self._inboxes.values()):
            inbox.put_nowait(self.death)
        self._inboxes.clear()

    async def wait_for_silence(self, limit_s: float) -> None:
        """Return when a busy worker has been silent for `limit_s`."""
        loop = asyncio.get_running_loop()
        while True:
            quiet_s = loop.time() - self._alive_at if self._inboxes else 0.0
            if quiet_s >= limit_s:
                return
            await asyncio.sleep(max(0.01, min(limit_s - quiet_s, limit_s / 4)))
