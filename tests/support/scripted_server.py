"""A server of scripted replicas in a thread of the test, with a real socket and real worker processes."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

from swarmeval.serving.app import Api
from swarmeval.serving.connection import Deadlines
from swarmeval.serving.http import DEADLINES, HttpServer, listener
from swarmeval.serving.pool import Pool
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.serve import ServeSettings
from swarmeval.workers.protocol import Fleet
from swarmeval.workers.replica_spec import Script
from tests.support.scripted_fleet import scripted

START_S = 60
LOCAL = ServeSettings()


class Served:
    """A running server."""

    def __init__(self, root: str, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self.root = root
        self.pool = pool
        self.clients = ExitStack()  # what it holds is closed before the server ends
        self._loop = loop

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def do(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine in the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(START_S)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait in the server's event loop until the condition holds; fails after 20 s."""

        async def wait() -> None:
            async with asyncio.timeout(20):
                while not true():  # noqa: ASYNC110 (no event is set)
                    await asyncio.sleep(0.02)

        self.do(wait)


@contextmanager
def serving(
    script: Script,
    workers: int = 1,
    waiting: int = 256,
    key: str | None = None,
    ready: bool = True,
    serve: ServeSettings = LOCAL,
    deadlines: Deadlines = DEADLINES,
    silence_s: float = 30.0,
    adapters: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """A server of the model "tiny" until the block ends. With `ready`, waits for its replicas first."""
    config = RunConfig(engine="scripted", device="cpu", max_new_tokens=64, serve=serve, adapters=dict(adapters))
    began: Future[Served] = Future()
    ending: list[HttpServer] = []

    async def run(fleet: Fleet) -> None:
        with listener("127.0.0.1", 0) as sock:
            async with Pool(fleet, waiting, backoff_s=(0.05,)) as pool:
                server = HttpServer(Api(pool, config, "tiny", key).app(), config.serve.connections, deadlines)
                ending.append(server)
                if ready:
                    await pool.until_ready()
                port = sock.getsockname()[1]
                began.set_result(Served(f"http://127.0.0.1:{port}", pool, asyncio.get_running_loop()))
                await server.serve(sock)

    def main() -> None:
        try:
            asyncio.run(run(scripted(script, workers, silence_s)))
        except BaseException as error:
            if not began.done():
                began.set_exception(error)
            raise

    thread = threading.Thread(target=main)
    thread.start()
    try:
        served = began.result(START_S)
        with served.clients:
            yield served
    finally:
        for server in ending:
            server.end()
            server.end()
        thread.join(START_S)
        assert not thread.is_alive()
