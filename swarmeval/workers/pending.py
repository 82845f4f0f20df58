"""The requests of one life of a worker that are not answered yet. Knows messages, not how they travel."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from swarmeval.errors import WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, Refusal, Request
from swarmeval.workers.wire import Answers, Cancel, Dropped, FromWorker, NotEncodable, Pieces, Submit

Inbox = asyncio.Queue[Answer | Piece | Dropped | WorkerDied]


class Pending:
    """Hands every answer to the batch that waits for it, and a death to all of them."""

    def __init__(self, send: Callable[[Submit | Cancel], None]) -> None:
        """`send` puts a message on its way and returns at once. Raises NotEncodable, and then has sent nothing."""
        self._send = send
        self._inboxes: dict[str, Inbox] = {}  # by job id
        self.death: WorkerDied | None = None
        self._alive_at = 0.0

    async def answers(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Ask, and yield what comes as it comes; ends early for what was dropped. Raises WorkerDied.

        A request that cannot be encoded is refused; the others of its batch are asked.
        """
        async with aclosing(self.items(requests)) as items:
            async for item in items:
                if not isinstance(item, Piece):
                    yield item

    async def items(self, requests: Sequence[Request]) -> AsyncGenerator[Piece | Answer, None]:
        """The same with the pieces of what is streamed. What nobody waits for any more is cancelled."""
        if self.death is not None:
            raise WorkerGone(str(self.death))
        if not self._inboxes:
            self.mark_alive()
        inbox: Inbox = asyncio.Queue()
        refusals = self._submit(requests)  # before anything is registered: what is not sent is not waited for
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
        """The worker gave a sign of life."""
        self._alive_at = asyncio.get_running_loop().time()

    def receive(self, message: FromWorker) -> None:
        """Take a message of the worker; what is no answer is a sign of life only."""
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
        """End every batch, and all that are to come, with the first death that is reported."""
        if self.death is None:
            self.death = death
        for inbox in set(self._inboxes.values()):
            inbox.put_nowait(self.death)
        self._inboxes.clear()

    async def wait_for_silence(self, limit_s: float) -> None:
        """Return when the worker, with work to do, has said nothing for so long."""
        loop = asyncio.get_running_loop()
        while True:
            quiet_s = loop.time() - self._alive_at if self._inboxes else 0.0
            if quiet_s >= limit_s:
                return
            await asyncio.sleep(max(0.01, min(limit_s - quiet_s, limit_s / 4)))
