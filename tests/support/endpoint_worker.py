"""An endpoint's worker in front of a faulty server: its answers, what it finds out, and why it refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from swarmeval.errors import ConfigError
from swarmeval.requests import Answer, ReplicaInfo, Sampling
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
    """For servers on this machine: what a real one may take seconds for is milliseconds here."""
    settings: dict[str, object] = {
        "request_format": RequestFormat("tiny", "vllm", {}), "key": Key("SOME_KEY"),
        "modes": {"chat": Sampling(8), "completion": Sampling(8, stop=STOPS)},
        "start_s": 10.0, "combine_samples": False, "backoff_s": (0.005, 0.02),
        "concurrency": concurrency, "silence_s": silence_s, "patience_s": patience_s,
    }  # fmt: skip
    return EndpointOptions(**(settings | changes))  # type: ignore[arg-type]


async def until(holds: Callable[[], bool]) -> None:
    """Under the limit of whoever waits."""
    while not holds():  # noqa: ASYNC110 (nothing tells)
        await asyncio.sleep(0.005)


def with_server(
    use: Callable[[FaultyServer, EndpointWorker], Awaitable[None]],
    *,
    server: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """Run `use` with a server and a worker that has not been started."""

    async def go() -> None:
        async with asyncio.timeout(30), FaultyServer(**(server or {})) as misbehaving:
            worker = EndpointWorker("endpoint:0", misbehaving.url, endpoint_options(**settings))
            try:
                await use(misbehaving, worker)
            finally:
                await worker.stop()

    asyncio.run(go())


def answers_of(*plan: Act, count: int = 1, **settings: Any) -> tuple[list[Answer], FaultyServer]:
    """What becomes of requests when the server first does what the plan says."""
    results: list[Any] = []

    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.plan.extend(plan)
        results.extend([await collect(worker, requests(count)), server])

    with_server(use, **settings)
    return results[0], results[1]


def started(prepare: Callable[[FaultyServer], None], **settings: Any) -> ReplicaInfo:
    """What a server that was prepared so is found to be."""
    infos: list[ReplicaInfo] = []

    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        prepare(server)
        infos.append(await worker.start())

    with_server(use, **settings)
    return infos[0]


def refused(prepare: Callable[[FaultyServer], None], **settings: Any) -> str:
    """Why a server that was prepared so cannot be used, its address left out."""
    with pytest.raises(ConfigError) as caught:
        started(prepare, **settings)
    place, _, reason = str(caught.value).partition("/v1: ")
    assert place.startswith("http://127.0.0.1:")
    return reason
