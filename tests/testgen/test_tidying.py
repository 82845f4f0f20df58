"""The model tidies merged test files: the files stay valid, whatever the model answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec
import pytest

from swarmeval.errors import OutputError
from swarmeval.requests import Answer, Piece, Refusal, ReplicaInfo, Request
from swarmeval.serving.pool import NO_REPLICA, Pool
from swarmeval.settings.loadtest import LoadTestSettings
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen import test_index, tidying
from swarmeval.testgen.combine import combine
from swarmeval.testgen.files import WrittenModule
from swarmeval.testgen.model_requests import RequestBuilder
from swarmeval.testgen.packages import Skips
from swarmeval.testgen.pieces import Part
from swarmeval.testgen.sources import modules
from swarmeval.testgen.tidying import TidyingProgress, tidy
from tests.support.echo_fleet import EchoFleet, EchoWorker
from tests.support.made_up_package import package

CONFIG = RunConfig(device="cpu", repetition_penalty=1.0, loadtest=LoadTestSettings(combine_with_model=True))
FIRST = "# Tests of made.m0, written by a language model.\n"
GOOD = "from made.m0 import f, g\n\n\ndef test_g():\n    assert g() == 2\n\n\ndef test_f():\n    assert f() == 1\n"
BAD = "def test_f():\n    assert f() == 1\n"


class Tidier(EchoWorker):
    """A worker that answers a request to tidy a test file with `answer(file)`."""

    def __init__(
        self, answer: Callable[[str], str], finish: str = "stop", tokens: int = 100_000, **more: object
    ) -> None:
        super().__init__("cpu:0", **more)  # type: ignore[arg-type]
        self.request: list[str] = []
        self.at_once = self.most_at_once = 0
        self.waits: asyncio.Event | None = None  # all requests after the first wait for it
        self._make = answer
        self._finish = finish
        self._tokens = tokens

    async def start(self) -> ReplicaInfo:
        return msgspec.structs.replace(await super().start(), max_context_tokens=self._tokens)

    async def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        self.request.append(request.job_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.waits is not None and len(self.request) > 1:
                await self.waits.wait()
            async for item in super().stream(request):
                yield item
        finally:
            self.at_once -= 1

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if isinstance(answer, Refusal):
            return answer
        tests = request.messages[-1].content.partition("```python\n")[2].partition("\n```")[0]
        return msgspec.structs.replace(answer, text=self._make(tests), finish_reason=self._finish)


def good(tests: str) -> str:
    """The tests of a file in reverse order."""
    imports, f, g = tests.split("\n\n\n")
    return "```python\n" + "\n\n\n".join([imports, g, f]) + "\n```"


def run_of(tmp_path: Path, count: int = 1) -> Path:
    """A run folder with `count` merged files, and one file with tests of a single function."""
    code: dict[str, str | bytes] = {f"m{number}.py": "def f(): return 1\ndef g(): return 2" for number in range(count)}
    code["one.py"] = "def f(): return 1"
    run = tmp_path / "run"
    for module in modules([package(tmp_path, code)], Skips()):
        parts = [
            Part(one.function_id, f"def test_{one.qualname}():\n    assert {one.qualname}() == {number}",
                 (f"from {module.name} import {one.qualname}",))
            for number, one in enumerate(module.functions, 1)
        ]  # fmt: skip
        combined = combine(parts)
        path = run / test_index.FOLDER / "made" / f"test_{module.name.partition('.')[2]}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Tests of {module.name}, written by a language model.\n{combined.source}")
        test_index.append(run, test_index.line(run, "1 at once", WrittenModule(module, combined, path, {})))
    return run


async def passed(
    run: Path, worker: Tidier, config: RunConfig = CONFIG, ended: Callable[[], object] = lambda: None
) -> TidyingProgress:
    async with asyncio.timeout(30), Pool(EchoFleet([worker]), 0, backoff_s=(0.0,)) as pool:
        await pool.until_settled()
        assert pool.info is not None
        tally = tidying.count_merged(run)
        await tidy(run, pool, RequestBuilder(config, pool.info), tally, ended)
    return tally


def contents(run: Path) -> dict[str, str]:
    """The contents of every file of a run."""
    return {str(path.relative_to(run)): path.read_text() for path in sorted(run.rglob("*")) if path.is_file()}


def reasons(run: Path) -> dict[str, str]:
    return {line.module: line.tidied for line in test_index.read(run)}


def test_a_good_answer_replaces_the_file_and_one_function_is_not_sent(tmp_path: Path) -> None:
    run, worker, heard = run_of(tmp_path), Tidier(good), list[int]()
    before = contents(run)
    tally = asyncio.run(passed(run, worker, ended=lambda: heard.append(1)))
    assert (str(tally), len(heard)) == ("1 of 1", 1)
    assert worker.request == ["tidy/generated_tests/made/test_m0.py"]
    after = contents(run)
    assert after["generated_tests/made/test_m0.py"] == FIRST + GOOD
    assert after["generated_tests/made/test_one.py"] == before["generated_tests/made/test_one.py"]
    assert after.keys() == before.keys()
    (line, other) = test_index.read(run)
    assert (line.tidied, other.tidied) == ("taken", "")
    assert [(test.name, test.function_id) for test in line.tests] == [("test_g", "made.m0:g"), ("test_f", "made.m0:f")]
    assert test_index.combined(run, line).source == GOOD


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        (Tidier(lambda tests: BAD), "no test of made.m0:g is left"),
        (Tidier(lambda tests: "I would rather not."), "contains none of the tests"),
        (Tidier(lambda tests: good(tests).replace("assert g()", "g()")), "test_g no longer asserts anything"),
        (Tidier(good, finish="length"), "the answer is incomplete (length)"),
        (Tidier(good, refused={"tidy/generated_tests/made/test_m0.py": 9}), "not now"),
        (Tidier(good, deaths=(1,)), NO_REPLICA),
        (Tidier(good, tokens=600), "too long for the model"),
    ],
)
def test_whatever_else_comes_leaves_the_file_and_is_noted(tmp_path: Path, worker: Tidier, why: str) -> None:
    run = run_of(tmp_path)
    before, lines = contents(run), list(test_index.read(run))
    assert str(asyncio.run(passed(run, worker))) == "0 of 1"
    after = contents(run)
    del before[test_index.NAME], after[test_index.NAME]
    assert after == before
    assert list(test_index.read(run)) == [msgspec.structs.replace(lines[0], tidied=why), lines[1]]


def test_a_file_that_no_answer_can_hold_is_not_asked_about(tmp_path: Path) -> None:
    run, worker = run_of(tmp_path), Tidier(good)
    asyncio.run(passed(run, worker, CONFIG.model_copy(update={"max_new_tokens": 10})))
    assert reasons(run)["made.m0"] == "too long for an answer of 10 tokens (max_new_tokens)"
    assert not worker.request


def test_a_few_are_asked_about_at_once_and_the_lines_keep_their_order(tmp_path: Path) -> None:
    count = tidying.MOST_PENDING + 3
    run, worker = run_of(tmp_path, count), Tidier(lambda tests: good(tests) if "m10" in tests else "No.")
    modules_before = [line.module for line in test_index.read(run)]
    assert str(asyncio.run(passed(run, worker))) == f"1 of {count}"
    assert list(reasons(run)) == modules_before
    assert [module for module, why in reasons(run).items() if why == "taken"] == ["made.m10"]
    assert worker.most_at_once == 4  # its rows


def test_a_cancelled_pass_leaves_whole_files_and_lines_that_say_which(tmp_path: Path) -> None:
    run, worker = run_of(tmp_path, tidying.MOST_PENDING + 1), Tidier(good)
    worker.waits, one = asyncio.Event(), asyncio.Event()
    before = contents(run)

    async def go() -> None:
        running = asyncio.create_task(passed(run, worker, ended=one.set))
        await one.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(go())
    after = contents(run)
    assert after.keys() == before.keys()
    assert [line.module for line in test_index.read(run) if line.tidied] == ["made.m0"]
    assert len(reasons(run)) == tidying.MOST_PENDING + 2
    for line in test_index.read(run):
        assert line.file is not None
        assert (after[line.file] == before[line.file]) is (line.tidied == "")
    assert after["generated_tests/made/test_m0.py"] == FIRST + GOOD


def test_a_file_that_has_gone_ends_the_pass_and_no_line_is_lost(tmp_path: Path) -> None:
    run = run_of(tmp_path, 3)
    gone = run / "generated_tests" / "made" / "test_m1.py"
    gone.unlink()
    with pytest.raises(OutputError) as caught:
        asyncio.run(passed(run, Tidier(good)))
    assert str(caught.value) == f"{gone}: cannot be read (No such file or directory)"
    assert reasons(run) == {"made.m0": "taken", "made.m1": "", "made.m2": "", "made.one": ""}


def test_a_run_without_merged_files_is_left_alone(tmp_path: Path) -> None:
    run, worker = run_of(tmp_path, 0), Tidier(good)
    before = contents(run)
    assert str(asyncio.run(passed(run, worker))) == "0 of 0"
    assert contents(run) == before


def test_a_model_without_a_template_goes_on_with_a_file(tmp_path: Path) -> None:
    info = msgspec.structs.replace(asyncio.run(Tidier(good).start()), chat_template_sha256=None)
    asking = RequestBuilder(CONFIG, info)
    request = asking.tidying("generated_tests/made/test_m0.py", "made.m0", GOOD)
    assert request.text is not None
    assert request.text.startswith("# test_m0.py: tests of made.m0 with pytest, as they were first written\nfrom made")
    assert request.text.endswith("without repetition\nimport pytest")
    assert "\nclass " not in request.sampling.stop
    assert asking.tidied("\n\n\ndef test_f(): ...") == "import pytest\n\n\ndef test_f(): ..."
