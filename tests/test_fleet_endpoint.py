"""A fleet of endpoints keeps the contract of all fleets, against a real server on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.fleet_contract import FleetContract
from tests.misbehaving import Misbehaving
from workers.endpoint import EndpointFleet
from workers.endpoint_body import Asking
from workers.endpoint_client import Key
from workers.endpoint_life import Orders
from workers.protocol import Fleet, Sampling, Worker

pytestmark = pytest.mark.slow


def orders(concurrency: int = 4, silence_s: float = 10.0, patience_s: float = 0.3, **changes: object) -> Orders:
    """For servers on this machine: what a real one may take seconds for is milliseconds here."""
    settings: dict[str, object] = {
        "asking": Asking("tiny", "vllm", {}), "key": Key("SOME_KEY"), "modes": ("chat", "completion"),
        "sampling": Sampling(8), "start_s": 10.0, "together": False, "backoff_s": (0.005, 0.02),
        "concurrency": concurrency, "silence_s": silence_s, "patience_s": patience_s,
    }  # fmt: skip
    return Orders(**(settings | changes))  # type: ignore[arg-type]


class TestEndpointFleet(FleetContract):
    def fleet(self, slow: bool = False) -> AbstractAsyncContextManager[Fleet]:
        return self._served(slow)

    @asynccontextmanager
    async def _served(self, slow: bool) -> AsyncIterator[Fleet]:
        self.server = Misbehaving(piece_s=0.05 if slow else 0.0)
        async with self.server, EndpointFleet([self.server.url], orders(self.rows)) as fleet:
            yield fleet

    async def kill(self, worker: Worker) -> None:
        await self.server.__aexit__()
        while worker.running:  # noqa: ASYNC110 (nothing else says when it has noticed)
            await asyncio.sleep(0.01)
        await self.server.__aenter__()
