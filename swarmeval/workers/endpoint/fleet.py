"""A fleet of OpenAI-compatible servers: each endpoint is a worker whose requests travel by HTTP.

What becomes of them while it runs (life), what is sent (body), what comes (stream), HTTP
itself (client) and getting to know a server (probe) have rooms of their own.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

from swarmeval.errors import WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, Progress, ReplicaInfo, Request
from swarmeval.workers.endpoint.backoff import Brake
from swarmeval.workers.endpoint.client import Client
from swarmeval.workers.endpoint.faults import ServerFault
from swarmeval.workers.endpoint.life import Life, Orders
from swarmeval.workers.endpoint.probe import Found, look


class EndpointWorker:
    """One endpoint; start() gets to know its server."""

    def __init__(self, name: str, url: str, orders: Orders) -> None:
        """`url` holds no secret."""
        self.name = name
        self.pid: int | None = None
        self._url = url
        self._orders = orders
        self._brake = Brake(orders.patience_s, orders.backoff_s)
        self._served = False
        self._life: Life | None = None

    @property
    def progress(self) -> Progress:
        return self._life.progress() if self._life is not None else Progress(0, 0, 0)

    @property
    def running(self) -> bool:
        return self._life is not None and self._life.pending.death is None

    async def start(self) -> ReplicaInfo:
        """Look at the server, and have it write a few tokens.

        A server that answered before is waited for; one that never did is not. Raises WorkerDied, ConfigError.
        """
        await self.stop()
        began, where = time.perf_counter(), f"{self.name}: {self._url}"
        if self._brake.left_s() > self._orders.patience_s:
            raise WorkerDied(f"{where}: wants to be left alone for {self._brake.left_s():.0f} s")
        self._brake.begin_anew()
        client = Client(self._url, self._orders.key, self._orders.silence_s)
        try:
            async with asyncio.timeout(self._orders.start_s):
                found = await self._met(client, where)
        except TimeoutError:
            await client.close()
            raise WorkerDied(
                f"{where}: was not ready within {self._orders.start_s:g} s (workers.load_timeout_s)"
            ) from None
        except BaseException:
            await client.close()
            raise
        self._served = True
        self._life = Life(where, client, self._orders, self._brake, found)
        return _info(self._url, self._orders, found, time.perf_counter() - began)

    def generate(self, requests: Sequence[Request]) -> AsyncGenerator[Answer, None]:
        """Yield the answers to these requests as they come. Raises WorkerDied, ConfigError."""
        if self._life is None:
            raise WorkerGone(f"{self.name}: is not running")
        return self._life.answers(requests)

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """The answer alone: one that breaks off is asked for again, and may then begin with other words."""
        return self.generate([request])

    async def drain(self) -> None:
        """Drop what waits for a slot, or to be tried again."""
        if self._life is not None:
            self._life.drain()

    async def stop(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            await life.close()

    async def _met(self, client: Client, where: str) -> Found:
        """Raises WorkerDied when the server is not there, or has been in trouble for too long."""
        while True:
            await self._brake.wait()
            try:
                return await look(client, self._orders.asking, self._orders.modes)
            except ServerFault as fault:
                hope = self._brake.trouble(pause=True, retry_after_s=fault.retry_after_s)
                if not (hope and self._served):
                    raise WorkerDied(f"{where}: {fault}") from None


class EndpointFleet:
    """An EndpointWorker per URL."""

    def __init__(self, urls: Sequence[str], orders: Orders) -> None:
        self.workers = [EndpointWorker(f"endpoint:{number}", url, orders) for number, url in enumerate(urls)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.workers))


def _info(url: str, orders: Orders, found: Found, load_s: float) -> ReplicaInfo:
    counts = "as it says" if found.counts else "pieces of its streams: it does not say"
    software = f"{found.software} {found.version}".strip() or "a server that does not say what it is"
    return ReplicaInfo(
        engine="endpoint",
        model=orders.asking.model,
        device=url,
        rows=orders.concurrency,
        max_context_tokens=found.context_tokens,
        chat_template_sha256=None,
        weights="unknown",
        compute_dtype="unknown",
        memory_mb=0.0,
        load_s=load_s,
        decoding=f"{software}; serves {', '.join(found.served) or 'what it does not list'}; output tokens: {counts}",
        versions={found.software: found.version} if found.version else {},
        chats=found.mode == "chat",
    )
