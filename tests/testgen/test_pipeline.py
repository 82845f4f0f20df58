"""From functions to test files under load, with a fleet in this process and with a misbehaving server."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from swarmeval.errors import ConfigError
from swarmeval.loadtest.arrivals import Closed, Level, Open
from swarmeval.loadtest.generator import Measured
from swarmeval.loadtest.request_rows import RequestRow
from swarmeval.requests import Answer, Refusal, Reply, Request
from swarmeval.serving.pool import Pool
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen import test_index
from swarmeval.testgen.files import file_names
from swarmeval.testgen.model_requests import RequestBuilder
from swarmeval.testgen.packages import Skips
from swarmeval.testgen.pipeline import Pipeline, PipelineCallbacks
from swarmeval.testgen.sources import Module, modules
from swarmeval.testgen.workload import Workload
from swarmeval.workers.endpoint.fleet import EndpointFleet
from swarmeval.workers.protocol import Fleet
from tests.support.echo_fleet import EchoFleet, EchoWorker
from tests.support.endpoint_worker import endpoint_options
from tests.support.faulty_server import Act, FaultyServer
from tests.support.made_up_package import package

CODE: dict[str, str | bytes] = {
    "one.py": "def f(): return 1\ndef g(): return 2",
    "two.py": "class C:\n    def h(self): return 3",
}
CONFIG = RunConfig(device="cpu", repetition_penalty=1.0)


class Writer(EchoWorker):
    """A worker that answers with one test of the requested function."""

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if isinstance(answer, Refusal):
            return answer
        (name,) = re.findall(r"pytest for `([\w.]+)`", request.messages[-1].content)
        called = "C().h()" if name == "C.h" else f"{name}()"
        test = f"```python\ndef test_{name.replace('.', '_')}():\n    assert {called}\n```"
        return Reply(request.job_id, test, 40, 12, 0.0, 0.001, 0.002, "stop")


@dataclass
class Collected:
    """The rows, lines and measurements of a run."""

    rows: list[RequestRow] = field(default_factory=list)
    lines: list[test_index.IndexLine] = field(default_factory=list)
    ended: list[Measured] = field(default_factory=list)

    def callbacks(self) -> PipelineCallbacks:
        return PipelineCallbacks(self.rows.append, self.lines.append, self.ended.append)


def made(tmp_path: Path) -> list[Module]:
    return list(modules([package(tmp_path, CODE)], Skips()))


@asynccontextmanager
async def pipeline(
    tmp_path: Path, fleet: Fleet, callbacks: PipelineCallbacks, pause_s: float = 0.0
) -> AsyncIterator[Pipeline]:
    """A pipeline for all functions of the package, with a ready fleet."""
    path = made(tmp_path)
    names = file_names(module.name for module in path)
    async with (
        asyncio.timeout(30), Pool(fleet, 0, backoff_s=(0.0,)) as pool, Workload(lambda: path) as workload
    ):  # fmt: skip
        await pool.until_settled()
        assert pool.info is not None
        yield Pipeline(pool, RequestBuilder(CONFIG, pool.info), workload, tmp_path / "run", names, callbacks, pause_s)


def loaded(tmp_path: Path, fleet: Fleet, *levels: Level, pause_s: float = 0.0) -> Collected:
    """Run these levels and return what was collected."""
    collected = Collected()

    async def go() -> None:
        async with pipeline(tmp_path, fleet, collected.callbacks(), pause_s) as under_test:
            for level in levels:
                await under_test.run_level(level, seed=0)

    asyncio.run(go())
    return collected


def test_every_request_is_reported_once_with_its_function_and_its_file(tmp_path: Path) -> None:
    collected = loaded(tmp_path, EchoFleet([Writer("cpu:0")]), Level(Closed(2), count=3))
    assert [(row.module, row.function, row.kind, row.level) for row in collected.rows] == [
        ("made.one", "f", "function", "2 at once"), ("made.one", "g", "function", "2 at once"),
        ("made.two", "C.h", "method", "2 at once"),
    ]  # fmt: skip
    assert [measured.number for measured in collected.ended] == [0, 1, 2]
    for row in collected.rows:
        assert row.written_s is not None
        assert row.written_s >= row.request.last_s >= (row.request.first_s or 9) >= row.request.sent_s >= 0
    assert [line.file for line in collected.lines] == [
        "generated_tests/made/test_one.py",
        "generated_tests/made/test_two.py",
    ]
    text = (tmp_path / "run" / "generated_tests" / "made" / "test_two.py").read_text()
    assert text.endswith("from made.two import C\n\n\ndef test_C_h():\n    assert C().h()\n")
    assert [line.requested for line in collected.lines] == [("made.one:f", "made.one:g"), ("made.two:C.h",)]


def test_a_level_begins_with_a_new_module_and_unsent_requests_do_not_fail(tmp_path: Path) -> None:
    collected = loaded(tmp_path, EchoFleet([Writer("cpu:0")]), Level(Closed(1), count=1), Level(Closed(3), count=1))
    assert [(line.level, line.module, line.requested, line.failed) for line in collected.lines] == [
        ("1 at once", "made.one", ("made.one:f",), {}), ("3 at once", "made.two", ("made.two:C.h",), {}),
    ]  # fmt: skip
    (cut, whole) = collected.rows
    assert cut.written_s is None  # its file was written at the end of the level, not after its last answer
    assert whole.written_s is not None


def test_another_round_goes_to_files_of_its_own(tmp_path: Path) -> None:
    collected = loaded(tmp_path, EchoFleet([Writer("cpu:0")]), Level(Closed(1), count=6))
    assert sorted(str(line.file) for line in collected.lines) == [
        "generated_tests.2/made/test_one.py", "generated_tests.2/made/test_two.py",
        "generated_tests/made/test_one.py", "generated_tests/made/test_two.py",
    ]  # fmt: skip


def test_no_two_requests_share_a_seed_and_the_same_ones_have_the_same(tmp_path: Path) -> None:
    (one, _), info = made(tmp_path), EchoWorker("cpu:0")
    asking = RequestBuilder(CONFIG, asyncio.run(info.start()))
    f, g = one.functions
    seeds = [asking.request(*what).seed for what in ((f, "a", 0), (f, "a", 1), (f, "b", 0), (g, "a", 0), (f, "a", 0))]
    assert len(set(seeds)) == 4
    assert seeds[0] == seeds[4]


def test_a_refused_request_fails_with_a_reason_and_its_file_is_written(tmp_path: Path) -> None:
    writer = Writer("cpu:0", refused={"1 at once/0": 1})
    collected = loaded(tmp_path, EchoFleet([writer]), Level(Closed(1), count=3))
    assert [(row.function, row.request.error, row.written_s is None) for row in collected.rows] == [
        ("f", "not now", True), ("g", None, False), ("C.h", None, False),
    ]  # fmt: skip
    assert collected.lines[0].failed == {"made.one:f": "not now"}
    assert [test.name for test in collected.lines[0].tests] == ["test_g"]


def test_a_worker_that_dies_is_started_again_and_every_request_is_told(tmp_path: Path) -> None:
    writer = Writer("cpu:0", deaths=(2,))
    collected = loaded(tmp_path, EchoFleet([writer]), Level(Closed(1), count=6), pause_s=0.3)
    assert len(collected.rows) == 6
    assert [row.request.error for row in collected.rows if row.request.error is not None] == ["no replica was ready"]
    assert writer.starts == 2


def test_a_run_that_is_cancelled_tells_what_was_answered(tmp_path: Path) -> None:
    collected, enough = Collected(), asyncio.Event()

    def ended(measured: Measured) -> None:
        collected.ended.append(measured)
        if len(collected.ended) == 4:
            enough.set()

    async def go() -> None:
        callbacks = PipelineCallbacks(collected.rows.append, collected.lines.append, ended)
        async with pipeline(tmp_path, EchoFleet([Writer("cpu:0")]), callbacks) as under_test:
            running = asyncio.create_task(under_test.run_level(Level(Closed(1), seconds=600), 0))
            await enough.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(go())
    assert len(collected.rows) >= 3
    assert sum(len(line.requested) for line in collected.lines) == len(collected.rows)


FAULTS = {
    "429": Act("status", 429, {"Retry-After": "3600"}, {"error": {"message": "slow down"}}),
    "500": Act("status", 500, content={"error": {"message": "boom"}}),
    "hang": Act("hang"),
    "cut": Act("half"),
    "reset": Act("reset"),
}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("429", "HTTP 429: slow down"), ("500", "HTTP 500: boom"),
        ("hang", "sent nothing for 0.3 s (endpoint.timeout_s)"),
        ("cut", "connection lost"), ("reset", "connection lost"),
    ],
)  # fmt: skip
def test_a_server_fault_is_a_failure_with_its_reason_and_not_sent_again(tmp_path: Path, kind: str, reason: str) -> None:
    collected = Collected()

    async def go() -> int:
        async with FaultyServer() as server:
            fleet = EndpointFleet([server.url], endpoint_options(silence_s=0.3, single_try=True))
            async with pipeline(tmp_path, fleet, collected.callbacks()) as under_test:
                server.plan.append(FAULTS[kind])
                await under_test.run_level(Level(Open(100.0), count=3), 0)
            return len(server.requests)

    assert asyncio.run(go()) == 3
    failed = [row for row in collected.rows if row.request.error is not None]
    assert len(collected.rows) == 3
    assert len(failed) == 1
    assert (failed[0].request.error or "").endswith(f"/v1: {reason}")


def test_a_model_without_a_template_is_asked_to_go_on_with_a_file(tmp_path: Path) -> None:
    (one, _), worker = made(tmp_path), EchoWorker("cpu:0")
    info = msgspec.structs.replace(asyncio.run(worker.start()), chat_template_sha256=None)
    asking = RequestBuilder(CONFIG, info)
    request = asking.request(one.functions[0], "a", 0)
    assert asking.mode == "completion"
    assert request.text is not None
    assert request.text.endswith("\ndef test_")
    assert asking.code("f():\n    assert f()") == "def test_f():\n    assert f()"
    with pytest.raises(ConfigError, match="prompt_mode is 'chat' but echo has no chat template; use completion or"):
        RequestBuilder(CONFIG.model_copy(update={"prompt_mode": "chat"}), info)


def test_what_cannot_fit_the_window_is_left_out(tmp_path: Path) -> None:
    (one, _), worker = made(tmp_path), EchoWorker("cpu:0")
    info = asyncio.run(worker.start())
    for tokens, fits in ((100, False), (100_000, True)):
        assert (
            RequestBuilder(CONFIG, msgspec.structs.replace(info, max_context_tokens=tokens)).fits(one.functions[0])
            is fits
        )
