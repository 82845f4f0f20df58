"""An endpoint worker that talks to a faulty server: its answers, the server facts it finds, and its errors."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from swarmeval.errors import ConfigError
from swarmeval.requests import Answer, Message, ReplicaInfo, Request, Sampling
from swarmeval.runs.prompts import STOPS
from swarmeval.workers.endpoint.body import RequestFormat
from swarmeval.workers.endpoint.client import Key
from swarmeval.workers.endpoint.fleet import EndpointWorker
from swarmeval.workers.endpoint.life import EndpointOptions
from tests.support.faulty_server import Act, FaultyServer
from tests.support.fleet_contract import collect, requests


def endpoint_options(
    concurrency: int = 4, silence_s: float = 10.0, patience_s: float = 0.3, **changes: object
) -> EndpointOptions:
    """Options for servers on this machine, with timeouts of milliseconds instead of seconds."""
    settings: dict[str, object] = {
        "request_format": RequestFormat("tiny", "vllm", {}), "key": Key("SOME_KEY"),
        "modes": {
            "chat": Request("", 0, Sampling(8), messages=(Message("user", "Say hello."),)),
            "completion": Request("", 0, Sampling(8, stop=STOPS), text="Hello,"),
        },
        "start_s": 10.0, "combine_samples": False, "backoff_s": (0.005, 0.02),
        "concurrency": concurrency, "silence_s": silence_s, "patience_s": patience_s,
    }  # fmt: skip
    return EndpointOptions(**(settings | changes))  # type: ignore[arg-type]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds. The caller limits the time."""
    while not holds():  # noqa: ASYNC110 (no event is set)
        await asyncio.sleep(0.005)


def with_server(
    use: Callable[[FaultyServer, EndpointWorker], Awaitable[None]],
    *,
    server: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """Run `use` with a server and an unstarted worker."""

    async def go() -> None:
        async with asyncio.timeout(30), FaultyServer(**(server or {})) as misbehaving:
            worker = EndpointWorker("endpoint:0", misbehaving.url, endpoint_options(**settings))
            try:
                await use(misbehaving, worker)
            finally:
                await worker.stop()

    asyncio.run(go())


def answers_of(*plan: Act, count: int = 1, **settings: Any) -> tuple[list[Answer], FaultyServer]:
    """The answers to requests, and the server, if the server first acts as planned."""
    results: list[Any] = []

    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.plan.extend(plan)
        results.extend([await collect(worker, requests(count)), server])

    with_server(use, **settings)
    return results[0], results[1]


def started(prepare: Callable[[FaultyServer], None], **settings: Any) -> ReplicaInfo:
    """The ReplicaInfo of a worker whose server was prepared this way."""
    infos: list[ReplicaInfo] = []

    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        prepare(server)
        infos.append(await worker.start())

    with_server(use, **settings)
    return infos[0]


def refused(prepare: Callable[[FaultyServer], None], **settings: Any) -> str:
    """The error of a worker whose server was prepared this way, without the server's address."""
    with pytest.raises(ConfigError) as caught:
        started(prepare, **settings)
    place, _, reason = str(caught.value).partition("/v1: ")
    assert place.startswith("http://127.0.0.1:")
    return reason
