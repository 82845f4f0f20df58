"""A fleet of OpenAI-compatible servers: each endpoint is a worker whose requests travel by HTTP.

What becomes of them while it runs (life), what is sent (body), what comes (stream), HTTP
itself (client) and getting to know a server (probe) have rooms of their own.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

from swarmeval.errors import ConfigError, DeviceError, WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, WorkerProgress
from swarmeval.workers.endpoint.backoff import Backoff
from swarmeval.workers.endpoint.client import Client
from swarmeval.workers.endpoint.faults import ServerFault
from swarmeval.workers.endpoint.life import EndpointOptions, Life
from swarmeval.workers.endpoint.probe import ServerInfo, inspect_server


class EndpointWorker:
    """One endpoint; start() gets to know its server."""

    def __init__(self, name: str, url: str, options: EndpointOptions) -> None:
        """`url` holds no secret."""
        self.name = name
        self.pid: int | None = None
        self._url = url
        self._options = options
        self._backoff = Backoff(options.patience_s, options.backoff_s)
        self._served = False
        self._life: Life | None = None

    @property
    def progress(self) -> WorkerProgress:
        return self._life.progress() if self._life is not None else WorkerProgress(0, 0, 0)

    @property
    def running(self) -> bool:
        return self._life is not None and self._life.pending.death is None

    async def start(self) -> ReplicaInfo:
        """Look at the server, and have it write a few tokens.

        A server that answered before is waited for; one that never did is not. Raises WorkerDied, ConfigError.
        """
        await self.stop()
        began, label = time.perf_counter(), f"{self.name}: {self._url}"
        if self._backoff.left_s() > self._options.patience_s:
            raise WorkerDied(f"{label}: wants to be left alone for {self._backoff.left_s():.0f} s")
        self._backoff.reset()
        client = Client(self._url, self._options.key, self._options.silence_s)
        try:
            async with asyncio.timeout(self._options.start_s):
                server = await self._inspected(client, label)
        except TimeoutError:
            await client.close()
            raise WorkerDied(
                f"{label}: was not ready within {self._options.start_s:g} s (workers.load_timeout_s)"
            ) from None
        except BaseException:
            await client.close()
            raise
        self._served = True
        self._life = Life(label, client, self._options, self._backoff, server)
        return _info(self._url, self._options, server, time.perf_counter() - began)

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

    async def _inspected(self, client: Client, label: str) -> ServerInfo:
        """Raises WorkerDied when the server is not there, or has been in trouble for too long."""
        while True:
            await self._backoff.wait()
            try:
                return await inspect_server(client, self._options.request_format, self._options.modes)
            except ServerFault as fault:
                may_recover = self._backoff.record_trouble(pause=True, retry_after_s=fault.retry_after_s)
                if not (may_recover and self._served):
                    raise WorkerDied(f"{label}: {fault}") from None


class EndpointFleet:
    """An EndpointWorker per URL."""

    def __init__(self, urls: Sequence[str], options: EndpointOptions) -> None:
        self.workers = [EndpointWorker(f"endpoint:{number}", url, options) for number, url in enumerate(urls)]

    async def check(self) -> None:
        """Look at every server, and leave it again.

        Raises ConfigError where one cannot be asked like this, DeviceError where none answers.
        """
        async with self:
            errors = await asyncio.gather(*(_start_error(worker) for worker in self.workers))
        for error in errors:
            if isinstance(error, ConfigError):
                raise error
        if all(errors):
            reasons = "; ".join(map(str, errors))
            raise DeviceError(f"no server answers ({reasons}); start one, or name another in endpoint.urls")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.workers))


async def _start_error(worker: EndpointWorker) -> ConfigError | WorkerDied | None:
    try:
        await worker.start()
    except (ConfigError, WorkerDied) as error:
        return error
    return None


def _info(url: str, options: EndpointOptions, server: ServerInfo, load_s: float) -> ReplicaInfo:
    counts = "as it says" if server.counts else "pieces of its streams: it does not say"
    software = f"{server.software} {server.version}".strip() or "a server that does not say what it is"
    return ReplicaInfo(
        engine="endpoint",
        model=options.request_format.model,
        device=url,
        rows=options.concurrency,
        max_context_tokens=server.context_tokens,
        chat_template_sha256=None,
        weights="unknown",
        compute_dtype="unknown",
        memory_mb=0.0,
        load_s=load_s,
        decoding=f"{software}; serves {', '.join(server.served) or 'what it does not list'}; output tokens: {counts}",
        versions={server.software: server.version} if server.version else {},
        chats=server.mode == "chat",
    )
