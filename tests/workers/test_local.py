"""Real worker processes: their answers arrive, their deaths are explained, and none is left behind."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from swarmeval.errors import DeviceError, WorkerDied
from swarmeval.requests import Answer, Refusal, Reply
from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.local import LocalFleet, LocalWorker, SocketTransport
from swarmeval.workers.replica_spec import ReplicaSpec, Script, ScriptedFault
from tests.support.checkout import ROOT
from tests.support.fleet_contract import collect, requests
from tests.support.scripted_fleet import scripted

pytestmark = pytest.mark.slow  # starting a process takes too long for a fast test


def with_worker(
    script: Script, use: Callable[[LocalWorker], Awaitable[None]], silence_s: float = 30.0, load_s: float = 30.0
) -> None:
    """Run `use` on a one-worker fleet, and check that no process outlives it."""

    async def go() -> None:
        async with scripted(script, silence_s=silence_s, load_s=load_s) as fleet:
            await use(fleet.workers[0])

    asyncio.run(go())
    assert not [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


def test_a_request_that_cannot_be_encoded_costs_the_worker_nothing() -> None:
    async def use(worker: LocalWorker) -> None:
        await worker.start()
        good, *bad = requests(3)
        bad = [replace(bad[0], seed=2**64), replace(bad[1], text="\ud800")]
        answers = await collect(worker, [*bad, good])
        assert [type(answer) for answer in answers] == [Refusal, Refusal, Reply]
        await asyncio.sleep(0.6)  # longer than a busy worker may be silent
        assert worker.running

    with_worker(Script(rows=4), use, silence_s=0.5)


def test_every_request_of_overlapping_batches_is_answered() -> None:
    async def use(worker: LocalWorker) -> None:
        info = await worker.start()
        assert (info.engine, info.rows) == ("scripted", 4)
        wanted = requests(40)
        groups = await asyncio.gather(*(collect(worker, wanted[k : k + 8]) for k in range(0, 40, 8)))
        assert [[answer.job_id for answer in group] for group in groups] == [
            [request.job_id for request in wanted[k : k + 8]] for k in range(0, 40, 8)
        ]
        answer = groups[0][3]
        assert isinstance(answer, Reply)
        assert answer.text == "```python\ndef f():\n    return 3\n```"
        assert 0 <= answer.queue_s <= answer.ttft_s <= answer.latency_s

    with_worker(Script(rows=4, steps=2), use)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("kill", r"^cpu:0: worker died while generating \(killed by SIGKILL\)$"),
        ("exit", r"^cpu:0: worker died while generating \(exit code 7\)$"),
        ("raise", r"^cpu:0: worker died while generating \(MemoryError: the script ran out of memory\)$"),
        ("hang", r"^cpu:0: sent nothing for 0\.5 s \(workers\.timeout_s\)$"),
        ("garbage", r"^cpu:0: sent an invalid message \(.*\)$"),
    ],
)
def test_a_fault_ends_every_batch_with_its_reason_and_a_restart_answers(fault, words) -> None:  # type: ignore[no-untyped-def]
    async def use(worker: LocalWorker) -> None:
        await worker.start()
        ends = await asyncio.gather(
            collect(worker, requests(20)[:10]), collect(worker, requests(20)[10:]), return_exceptions=True
        )
        assert any(isinstance(end, WorkerDied) for end in ends)
        for end in ends:
            if isinstance(end, WorkerDied):
                with pytest.raises(WorkerDied, match=words):
                    raise end
        with pytest.raises(WorkerDied):
            await collect(worker, requests(1))
        await worker.start()
        assert len(await collect(worker, requests(5))) == 5

    with_worker(
        Script(rows=4, faults=(ScriptedFault(fault, after=6),)), use, silence_s=0.5 if fault == "hang" else 30.0
    )


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("load_exit", WorkerDied, r"^cpu:0: worker died while loading \(exit code 7\)$"),
        ("load_raise", DeviceError, r"^cpu:0: the script finds no device$"),
        ("load_hang", WorkerDied, r"^cpu:0: did not load within 1 s \(workers\.load_timeout_s\)$"),
    ],
)
def test_a_fault_while_loading_is_reported_by_start(fault, error, words) -> None:  # type: ignore[no-untyped-def]
    async def use(worker: LocalWorker) -> None:
        with pytest.raises(error, match=words):
            await worker.start()

    with_worker(Script(faults=(ScriptedFault(fault),)), use, load_s=1.0 if fault == "load_hang" else 30.0)


def test_draining_answers_requests_in_rows_and_drops_the_rest() -> None:
    async def use(worker: LocalWorker) -> None:
        await worker.start()
        answers: list[Answer] = []
        async for answer in worker.generate(requests(50)):
            if not answers:
                await worker.drain()
            answers.append(answer)
        assert 4 <= len(answers) < 50

    with_worker(Script(rows=4, steps=30, step_s=0.02), use)


ENDLESS = """
import asyncio, sys
from tests.support.fleet_contract import collect, requests
from tests.support.scripted_fleet import scripted
from swarmeval.workers.replica_spec import Script

async def go():
    async with scripted(Script(steps=10**9, step_s=0.01)) as fleet:
        await fleet.workers[0].start()
        print(fleet.workers[0].pid, flush=True)
        await collect(fleet.workers[0], requests(3))

asyncio.run(go())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_workers_do_not_outlive_a_killed_coordinator(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as coordinator:
        assert coordinator.stdout is not None
        worker = psutil.Process(int(coordinator.stdout.readline()))
        os.kill(coordinator.pid, number)
        coordinator.wait(10)
    gone, alive = psutil.wait_procs([worker], timeout=5)
    assert gone
    assert not alive


@pytest.mark.fault(
    "run ends (drained)", "at each moment of a worker's start or restart", "no process or socket is left"
)
@pytest.mark.parametrize("alive", [True, False], ids=["alive before", "never started"])
def test_a_start_that_is_cancelled_leaves_nothing_open(alive: bool) -> None:
    async def go() -> None:
        for moments in range(12):
            async with scripted(Script()) as fleet:
                worker = fleet.workers[0]
                if alive:
                    await worker.start()
                starting = asyncio.create_task(worker.start())
                for _ in range(moments):
                    await asyncio.sleep(0)
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)

    asyncio.run(go())
    gc.collect()  # unclosed resources cause warnings now
    assert not [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


def test_a_cancelled_end_leaves_no_traced_worker() -> None:
    async def go() -> None:
        transport = await SocketTransport.open(DeviceSpec("cpu:0", "cpu"), traced=True)
        worker = psutil.Process(transport.pid)
        worker.suspend()  # so that it cannot end by itself
        closing = asyncio.create_task(transport.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert not worker.is_running()

    asyncio.run(go())


def test_worker_processes_are_started_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting one blocks the event loop, which runs between them."""
    begin, at_once, most = asyncio.create_subprocess_exec, 0, 0

    async def counted(*words: str, **options: Any) -> asyncio.subprocess.Process:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await begin(*words, **options)
        finally:
            at_once -= 1

    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)

    async def go() -> None:
        spec = ReplicaSpec(
            "scripted", "scripted", "cpu:0", "auto", "auto", "off", "off", True, None, 8, script=Script()
        )
        devices = [DeviceSpec(f"cpu:{k}", "cpu") for k in range(4)]
        async with LocalFleet(devices, [spec] * 4, 30.0, 30.0) as fleet:
            await asyncio.gather(*(worker.start() for worker in fleet.workers))

    asyncio.run(go())
    assert most == 1
