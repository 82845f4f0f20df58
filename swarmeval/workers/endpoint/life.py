"""One life of an endpoint worker, from start to end: its slots, the retries of each request, and its death.

A request whose answer is aborted is retried. It is given up only if the server demonstrably answers other requests.
A server that fails for too long ends the life, which does not count against requests that it was not answering.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from swarmeval.errors import WorkerDied, WorkerGone
from swarmeval.requests import Answer, Refusal, Reply, Request, Speculation, WorkerProgress
from swarmeval.workers.endpoint.backoff import BACKOFF_S, Backoff
from swarmeval.workers.endpoint.body import RequestFormat, body, path
from swarmeval.workers.endpoint.client import Client, Key
from swarmeval.workers.endpoint.endings import broke_off
from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused
from swarmeval.workers.endpoint.probe import Mode, ServerInfo, counted, explained, try_out
from swarmeval.workers.endpoint.stream import PartialAnswer, StreamReader
from swarmeval.workers.pending import Pending
from swarmeval.workers.wire import Answers, Cancel, Dropped, Submit

TRIES = 4  # per request, if its answers are aborted while the server answers other requests
FATAL = (401, 402, 403, 404)  # statuses that every other request would get too

log = logging.getLogger("swarmeval.worker")


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Settings that all endpoints of a run share."""

    request_format: RequestFormat
    key: Key
    modes: Mapping[Mode, Request]  # modes to try, in this order, each with a typical request
    concurrency: int
    silence_s: float
    patience_s: float  # how long a server may keep failing
    start_s: float
    combine_samples: bool  # request several answers to one prompt at once
    backoff_s: tuple[float, float] = BACKOFF_S
    single_try: bool = False  # report a failed request instead of retrying it, for measurements


class Life:
    """One life of an endpoint worker."""

    def __init__(
        self, label: str, client: Client, options: EndpointOptions, backoff: Backoff, server: ServerInfo
    ) -> None:
        self._label = label
        self._client = client
        self._options = options
        self._backoff = backoff
        self._server = server
        self.pending = Pending(self._begin)
        self._slots = asyncio.Semaphore(options.concurrency)
        self._probing = asyncio.Lock()
        self._combine_samples = options.combine_samples
        self._tasks: dict[asyncio.Task[None], tuple[Request, ...]] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._reading: set[StreamReader] = set()
        self._broken: set[str] = set()  # ids of jobs whose answers were aborted
        self._tokens = 0  # in complete answers
        self._draining = False
        self._error: Exception | None = None  # an error that a restart cannot fix

    async def answers(self, requests: Sequence[Request]) -> AsyncGenerator[Answer, None]:
        job_ids = {request.job_id for request in requests}
        try:
            async for answer in self.pending.answers(requests):
                yield answer
        except WorkerDied as death:
            if self._error is not None:
                raise self._error from None
            # WorkerGone does not count against the jobs; WorkerDied does, as one of them may have crashed the server.
            raise (death if self._broken & job_ids else WorkerGone(str(death))) from None
        finally:
            for task, group in list(self._tasks.items()):
                if any(request.job_id in job_ids for request in group):
                    task.cancel()

    def progress(self) -> WorkerProgress:
        pieces = sum(answer.pieces for reader in self._reading for answer in reader.answers)
        return WorkerProgress(
            rows_in_use=sum(len(reader.answers) for reader in self._reading),
            waiting=sum(len(self._tasks[task]) for task in self._waiting if task in self._tasks),
            output_tokens=self._tokens + pieces,
        )

    async def counted(self) -> Speculation | None:
        """The server's counts of speculative decoding so far."""
        return await counted(self._client, self._server.software)

    def drain(self) -> None:
        self._draining = True
        for task in list(self._waiting):
            self._drop(task)

    async def close(self) -> None:
        self._die(WorkerDied(f"{self._label}: was stopped"))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def _begin(self, submit: Submit | Cancel) -> None:
        if isinstance(submit, Cancel):
            return  # answers() cancels its own tasks
        submitted = time.perf_counter()
        groups: dict[object, list[Request]] = {}
        for request in submit.requests:
            # Whatever else a request holds is the run's.
            same = (request.messages, request.text, request.suffix, request.sampling, request.adapter)
            key = same if self._combine_samples else request.job_id
            groups.setdefault(key, []).append(request)
        most = self._options.concurrency  # a group starts as a whole, so it must not exceed the slots
        for group in groups.values():
            for start in range(0, len(group), most):
                self._spawn(tuple(group[start : start + most]), submitted)

    def _spawn(self, group: tuple[Request, ...], submitted: float) -> None:
        task = asyncio.create_task(self._answer(group, submitted))
        self._tasks[task] = group
        self._waiting.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._waiting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            assert isinstance(error, Exception)
            if not isinstance(error, WorkerDied):
                self._error = self._error or error  # a user error or a bug: answers() raises it
            self._die(error if isinstance(error, WorkerDied) else WorkerDied(f"{self._label}: {error}"))

    def _die(self, death: WorkerDied) -> None:
        self.pending.die(death)
        for task in list(self._tasks):
            task.cancel()

    def _drop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self.pending.receive(Dropped(tuple(request.job_id for request in self._tasks.pop(task, ()))))

    async def _answer(self, group: tuple[Request, ...], submitted: float) -> None:
        """Get the answers to requests that differ only in their seeds. Raises WorkerDied, ConfigError."""
        task = asyncio.current_task()
        assert task is not None
        tries, answers_before = 0, self._backoff.answers
        while True:
            await self._backoff.wait()
            async with self._slots:
                if self._backoff.left_s() > 0:
                    continue  # a pause began during the wait for a slot
                self._waiting.discard(task)
                try:
                    answered, fault = await self._ask(group, submitted, last=tries + 1 >= TRIES)
                except ServerRefused as refused:
                    self._refuse(group, submitted, refused)
                    return
            self.pending.receive(Answers(tuple(answered)))
            answered_ids = {answer.job_id for answer in answered}
            group = self._tasks[task] = tuple(request for request in group if request.job_id not in answered_ids)
            if group and self._draining:
                self._drop(task)
            elif group and fault is None:  # the server gives only one answer per request
                self._split(group, submitted)
            elif group and fault is not None and self._options.single_try:
                self._give_up(group, fault)
            elif group and fault is not None:
                self._waiting.add(task)
                tries += fault.kind == "cut"
                if not await self._handle_fault(group, fault, tries, answers_before):
                    continue
            return

    async def _ask(
        self, group: Sequence[Request], submitted: float, last: bool
    ) -> tuple[list[Answer], ServerFault | None]:
        """Send one request; return its complete answers and the fault that stopped the others. Raises ServerRefused.

        An answer with an abort as finish reason counts as a fault, except in the `last` try, which keeps it.
        """
        first, sent = group[0], time.perf_counter()
        reader = StreamReader(len(group), first.sampling.stop, self._client.hide)
        fault = None
        self._reading.add(reader)
        try:
            await self._client.complete(path(first), body(self._options.request_format, group), reader)
        except ServerFault as error:
            fault = error
        except ServerRefused as refused:
            if not any(answer.finish for answer in reader.answers):
                raise
            fault = ServerFault(str(refused))  # an answer was complete before, so the request is acceptable
        finally:
            self._reading.discard(reader)
        reader.count()
        answered = []
        for request, answer in zip(group, reader.answers, strict=True):
            if broke_off(answer.finish) and (not last or self._options.single_try):
                fault = fault or ServerFault(f"an answer ended with finish_reason {answer.finish!r}")
                self._backoff.record_answer()  # an aborted answer still shows that the server works
            elif answer.finish is not None:
                answered.append(self._whole(request, answer, reader.prompt_tokens, submitted, sent))
        if answered:
            self._backoff.record_answer()
        return answered, fault

    def _whole(
        self, request: Request, answer: PartialAnswer, prompt_tokens: int | None, submitted: float, sent: float
    ) -> Answer:
        assert answer.finish is not None
        if any(self._client.key.hidden(text) != text for text in (answer.text, answer.thought)):
            return Refusal(request.job_id, "the answer contains the API key, so it was discarded", retry=False)
        tokens = answer.pieces if answer.tokens is None else answer.tokens
        text, thought, note = answer.final_texts(request.thinking, request.prefill)
        self._tokens += tokens
        return Reply(
            job_id=request.job_id,
            text=text,
            prompt_tokens=prompt_tokens or 0,
            output_tokens=tokens,
            queue_s=sent - submitted,
            ttft_s=(answer.first_at or sent) - submitted,
            latency_s=(answer.last_at or sent) - submitted,
            finish_reason=answer.finish,
            note=note,
            reasoning=thought,
            marks=answer.marks(len(answer.text) - len(text)) if request.marks else (),
            reasoning_tokens=answer.tokens_of(thought),
        )

    def _refuse(self, group: tuple[Request, ...], submitted: float, refused: ServerRefused) -> None:
        """Refuse the requests; retry a group one by one. Raises ConfigError if every request would be refused."""
        if refused.status in FATAL:
            raise explained(self._client, refused)
        if len(group) > 1:  # the server may have refused n > 1
            self._split(group, submitted)
            return
        self.pending.receive(Answers((Refusal(group[0].job_id, f"{self._label}: {refused}", retry=False),)))

    def _split(self, group: tuple[Request, ...], submitted: float) -> None:
        """Send one request per answer from now on."""
        if self._combine_samples:
            log.warning("%s: gives only one answer per request; endpoint.samples is ignored", self._label)
        self._combine_samples = False
        for request in group:
            self._spawn((request,), submitted)

    async def _handle_fault(
        self, group: tuple[Request, ...], fault: ServerFault, tries: int, answers_before: int
    ) -> bool:
        """Return True if the fault made us give the requests up, False (after a pause) to retry. Raises WorkerDied."""
        if fault.kind == "cut":
            self._broken.update(request.job_id for request in group)
        if fault.kind == "busy" and self._reading:
            self._backoff.record_busy(fault.retry_after_s)
        elif not self._backoff.record_trouble(fault.kind != "cut", fault.retry_after_s):
            raise WorkerDied(f"{self._label}: {fault}, and no answer for {self._options.patience_s:g} s")
        log.debug("%s: %s: %s", self._label, group[0].job_id, fault)
        if tries >= TRIES and (self._backoff.answers > answers_before or await self._answers_probe()):
            self._give_up(group, fault)
            return True
        if fault.kind == "cut":
            await asyncio.sleep(self._backoff.backoff_s(tries - 1))
        return False

    def _give_up(self, group: tuple[Request, ...], fault: ServerFault) -> None:
        refusals = [Refusal(request.job_id, f"{self._label}: {fault}", retry=True) for request in group]
        self.pending.receive(Answers(tuple(refusals)))

    async def _answers_probe(self) -> bool:
        """Whether the server answers a harmless test request."""
        before = self._backoff.answers
        async with self._probing:
            if self._backoff.answers > before:
                return True  # it answered while this waited
            with contextlib.suppress(ServerFault, ServerRefused):
                await try_out(self._client, self._options.request_format, self._options.modes[self._server.mode])
                self._backoff.record_answer()
                return True
        return False
