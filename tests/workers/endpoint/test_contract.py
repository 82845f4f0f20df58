"""A fleet of endpoints fulfils the contract of all fleets, with a real server on a real socket."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from swarmeval.workers.endpoint.fleet import EndpointFleet
from swarmeval.workers.protocol import Fleet, Worker
from tests.support.endpoint_worker import endpoint_options, until
from tests.support.faulty_server import FaultyServer
from tests.support.fleet_contract import FleetContract

pytestmark = pytest.mark.slow


class TestEndpointFleet(FleetContract):
    streams = False

    def fleet(self, slow: bool = False) -> AbstractAsyncContextManager[Fleet]:
        return self._served(slow)

    @asynccontextmanager
    async def _served(self, slow: bool) -> AsyncIterator[Fleet]:
        self.server = FaultyServer(piece_s=0.05 if slow else 0.0)
        async with self.server, EndpointFleet([self.server.url], endpoint_options(self.rows)) as fleet:
            yield fleet

    async def kill(self, worker: Worker) -> None:
        await self.server.__aexit__()
        await until(lambda: not worker.running)
        await self.server.__aenter__()
