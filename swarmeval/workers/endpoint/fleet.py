"""The endpoint fleet: each OpenAI-compatible server is a worker that is reached by HTTP.

Separate modules handle retries (life), request bodies (body), responses (stream), HTTP (client) and the check of a
server at its start (probe).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Self

import msgspec

from swarmeval.errors import ConfigError, DeviceError, WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, Speculation, WorkerProgress
from swarmeval.thinking import ANY
from swarmeval.workers.endpoint.backoff import Backoff
from swarmeval.workers.endpoint.client import Client
from swarmeval.workers.endpoint.faults import ServerFault
from swarmeval.workers.endpoint.life import EndpointOptions, Life
from swarmeval.workers.endpoint.probe import ServerInfo, counted, inspect_server
from swarmeval.workers.speculation import plus, since


class EndpointWorker:
    """A worker for one endpoint."""

    def __init__(self, name: str, url: str, options: EndpointOptions) -> None:
        """`url` must not contain a secret: messages show it."""
        self.name = name
        self.pid: int | None = None
        self._url = url
        self._options = options
        self._backoff = Backoff(options.patience_s, options.backoff_s)
        self._served = False
        self._life: Life | None = None
        self._counted: Speculation | None = None  # in lives that have ended
        self._before: Speculation | None = None  # at the start of this life

    @property
    def progress(self) -> WorkerProgress:
        progress = self._life.progress() if self._life is not None else WorkerProgress(0, 0, 0)
        return msgspec.structs.replace(progress, speculation=self._counted)

    @property
    def running(self) -> bool:
        return self._life is not None and self._life.pending.death is None

    async def start(self) -> ReplicaInfo:
        """Inspect the server and generate a few tokens as a test. Raises WorkerDied, ConfigError.

        If the server answered in an earlier life, wait for it to recover; otherwise fail at once.
        """
        await self.stop()
        began, label = time.perf_counter(), f"{self.name}: {self._url}"
        if self._backoff.left_s() > self._options.patience_s:
            raise WorkerDied(f"{label}: asks for a pause of {self._backoff.left_s():.0f} s (Retry-After)")
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
        self._before = await counted(client, server.software)
        self._life = Life(label, client, self._options, self._backoff, server)
        return _info(self._url, self._options, server, time.perf_counter() - began)

    def generate(self, requests: Sequence[Request]) -> AsyncGenerator[Answer, None]:
        """Yield the answers to these requests as they arrive. Raises WorkerDied, ConfigError."""
        if self._life is None:
            raise WorkerGone(f"{self.name}: is not running")
        return self._life.answers(requests)

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """Yield the answer only. Pieces could contradict it: an aborted answer is requested again."""
        return self.generate([request])

    async def drain(self) -> None:
        """Drop the requests that wait for a slot or for another try."""
        if self._life is not None:
            self._life.drain()

    async def stop(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            if self._before is not None and life.pending.death is None:
                self._counted = plus(self._counted, since(self._before, await life.counted()))
            await life.close()

    async def _inspected(self, client: Client, label: str) -> ServerInfo:
        """Inspect the server, with retries. Raises WorkerDied if it is unreachable or keeps failing for too long."""
        while True:
            await self._backoff.wait()
            try:
                options = self._options
                return await inspect_server(client, options.request_format, options.modes)
            except ServerFault as fault:
                may_recover = self._backoff.record_trouble(pause=True, retry_after_s=fault.retry_after_s)
                if not (may_recover and self._served):
                    raise WorkerDied(f"{label}: {fault}") from None


class EndpointFleet:
    """One EndpointWorker per URL."""

    def __init__(self, urls: Sequence[str], options: EndpointOptions) -> None:
        self.workers = [EndpointWorker(f"endpoint:{number}", url, options) for number, url in enumerate(urls)]

    async def check(self) -> None:
        """Start and stop every worker as a test.

        Raises ConfigError if the settings do not suit a server, DeviceError if no server answers.
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
    counts = "as reported" if server.counts else "counted as stream pieces (not reported)"
    template = options.request_format.chat_template
    software = f"{server.software} {server.version}".strip() or "unknown server software"
    return ReplicaInfo(
        engine="endpoint",
        model=options.request_format.model,
        device=url,
        rows=options.concurrency,
        max_context_tokens=server.context_tokens,
        chat_template_sha256=None if template is None else sha256(template.encode()).hexdigest(),
        weights="unknown",
        compute_dtype="unknown",
        memory_mb=0.0,
        load_s=load_s,
        decoding=f"{software}; serves {', '.join(server.served) or 'unlisted models'}; output tokens: {counts}",
        versions={server.software: server.version} if server.version else {},
        thinking=ANY,
        chats=server.mode == "chat",
        fills_gaps=options.modes[server.mode].suffix is not None,
    )
