"""Checks whether the run's servers respond, and reports their models."""

import asyncio
from collections.abc import Iterator

from swarmeval.doctor.finding import Finding
from swarmeval.errors import SwarmevalError
from swarmeval.workers.protocol import Fleet


def findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield one finding per server."""
    yield from asyncio.run(_check_servers(fleet))


async def _check_servers(fleet: Fleet) -> list[Finding]:
    results = []
    async with fleet:
        for worker in fleet.workers:
            try:
                info = await worker.start()
            except SwarmevalError as error:
                results.append(Finding("server", "UNFIT", str(error)))
                continue
            mode = "chat" if info.takes_chat else "completion"
            results.append(Finding("server", "ok", f"{info.device}: {info.model}, {mode}; {info.decoding}"))
    return results
