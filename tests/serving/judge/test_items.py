"""Items of the judge: what a request may state, and the words with which everything else is refused."""

from typing import Any

import msgspec
import pytest

from swarmeval.executed import Case, Comparison
from swarmeval.records import Suite, Task
from swarmeval.serving.errors import BadRequest
from swarmeval.serving.judge.items import Maxima, Work, read_batch
from tests.support.judge_server import ADD, CALLS, DOUBLE, SUM

TASK = Task("T/0", "def f(x):\n", Suite("f", "check(f)"))
CHECKED = {"rule": "checker", "checker": "def check(stdin, expected, output): return True"}
INSIDE = "use a relative path inside the program's folder"
MAXIMA = Maxima(timeout_s=10.0, memory_mb=1024, batch=3)


def read(*items: dict[str, Any]) -> list[Work]:
    body = msgspec.json.encode({"items": [{"id": number, **item} for number, item in enumerate(items)]})
    return read_batch(body, "key 1", {TASK.task_id: TASK}, ("python", "bash"), MAXIMA)


def test_a_reply_cut_within_an_emoji_is_read() -> None:
    for escape in (rb"\ud83d", rb"a\uDE00b", rb"\ud83d\ud83d"):
        body = b'{"items": [{"id": 1, "task": "T/0", "reply": "' + escape + b'"}]}'
        (work,) = read_batch(body, "", {TASK.task_id: TASK}, (), MAXIMA)
        assert set(work.completion.reply) <= {"\ufffd", "a", "b"}
    nowhere = rb'{"items": [{"id": 1, "task": "T/0", "reply": "\ud83d", "timeout_s": NaN}]}'
    with pytest.raises(BadRequest, match=r"^items\[0\]: timeout_s is nan; use more than 0 and at most 10 "):
        read_batch(nowhere, "", {TASK.task_id: TASK}, (), MAXIMA)


def refusal(*items: dict[str, Any]) -> str:
    with pytest.raises(BadRequest) as caught:
        read(*items)
    return str(caught.value)


def test_a_task_of_the_benchmark_is_named_and_shared_by_all_clients() -> None:
    (work,) = read({"id": "mine", "task": "T/0", "reply": "x"})
    assert (work.item_id, work.task, work.handling.owner) == ("mine", TASK, "")
    assert (work.completion.form, work.completion.reply) == ("reply", "x")


def test_stated_tests_belong_to_their_client() -> None:
    (work,) = read({"task": CALLS, "solution": DOUBLE})
    assert work.task.suite == Suite("f", f"{CALLS['test']}\ncheck(f)")
    assert work.handling.owner == "key 1"


def test_stated_cases_and_files_become_an_executed_task() -> None:
    stated = {**SUM, "comparison": {"rule": "numbers", "tolerance": 0.1}, "files": {"data/a.txt": "1"}}
    (work,) = read({"task": stated, "files": {"program.py": ADD, "more.py": ""}})
    executed = work.task.executed
    assert executed is not None
    assert (executed.cases, executed.comparison) == ((Case("1 2\n", "3\n"),), Comparison("numbers", 0.1))
    assert executed.files == (("data/a.txt", "1"), ("more.py", ""))
    assert (work.completion.form, work.completion.reply) == ("solution", ADD)


def test_limits_of_an_item_lower_those_of_the_server_and_of_its_task() -> None:
    calls, program, own = read(
        {"task": CALLS, "solution": "", "timeout_s": 2.5, "memory_mb": 100},
        {"task": SUM, "solution": "", "timeout_s": 2.5, "memory_mb": 100},
        {"task": {**SUM, "timeout_s": 2, "memory_mb": 80}, "solution": "", "timeout_s": 2.5, "memory_mb": 100},
    )
    assert (calls.handling.part, calls.handling.memory_mb) == (0.25, 100)
    assert (program.handling.part, program.handling.memory_mb) == (0.25, None)
    assert [work.task.executed.memory_mb for work in (program, own) if work.task.executed] == [100, 80]
    assert own.handling.part == 1.0


def files(*paths: str) -> dict[str, Any]:
    return {"task": {**SUM, "files": dict.fromkeys(paths, "")}, "solution": ""}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"task": "T/1", "reply": ""}, "task 'T/1' is not in the benchmark of this server; state its tests"),
        ({"task": "T/0"}, "one of reply, completion, solution and files is needed; found none of them"),
        (
            {"task": "T/0", "reply": "", "solution": ""},
            "one of reply, completion, solution and files is needed; found reply and solution",
        ),
        (
            {"task": "T/0", "reply": "", "timeout_s": 11},
            "timeout_s is 11; use more than 0 and at most 10 (eval_timeout)",
        ),
        ({"task": "T/0", "reply": "", "memory_mb": 2048}, "memory_mb is 2048; use 64 to 1024 (eval_memory_mb)"),
        (
            {"task": "T/0", "files": {}},
            "files: the tests of this task call a function; send reply, completion or solution",
        ),
        ({"task": SUM, "files": {"a.py": ""}}, "files has no 'program.py', the main file of a program in python"),
        ({"task": {**SUM, "language": "cpp"}, "reply": ""}, "task.language is 'cpp'; this server offers python, bash"),
        ({"task": {**SUM, "build": ["sh"]}, "reply": ""}, "task: Object contains unknown field `build`"),
        ({"task": {**CALLS, "entry_point": "f()"}, "reply": ""}, "task.entry_point is 'f()', which is not a name"),
        ({"task": {"entry_point": "f"}, "reply": ""}, "task: Object missing required field `test`"),
        (
            {"task": {"language": "python"}, "reply": ""},
            "task.cases and tests are empty, so that any program would pass; give at least one case",
        ),
        (
            {"task": {**SUM, "cases": [{}] * 361}, "reply": ""},
            "task.cases: 361 cases of up to 10 s may take more than 3600 s; state fewer, or a lower task.timeout_s",
        ),
        (
            {"task": {**SUM, "cases": [{"arguments": ["a" * 32769]}]}, "reply": ""},
            "task.cases: case 1 has more than 32768 bytes of arguments",
        ),
        (
            {"task": {**SUM, "timeout_s": 60}, "reply": ""},
            "task.timeout_s is 60; use more than 0 and at most 10 (eval_timeout)",
        ),
        (files("../x"), f"task.files names '../x', which leaves the folder; {INSIDE}"),
        (files("/x"), f"task.files names '/x', which is absolute; {INSIDE}"),
        (files("./program.py"), "files names 'program.py', which another file of the program has"),
        (files("a", "a/b"), "files names 'a' as a file and as a folder"),
        (files("a" * 256), f"files names '{'a' * 256}', which is too long; use a short relative path"),
        (files(*map(str, range(512))), "files has 513 entries; use at most 512"),
        (
            {"task": {**SUM, "cases": [{}] * 7201, "timeout_s": 1e-9}, "reply": ""},
            "task.cases: 7201 cases of up to 0.5 s may take more than 3600 s; state fewer, or a lower task.timeout_s",
        ),
        (
            {"task": {**SUM, "cases": [{}] * 91, "comparison": CHECKED}, "reply": ""},
            "task.cases: 91 cases of up to 40 s with their checker may take more than 3600 s; "
            "state fewer, or a lower task.timeout_s",
        ),
        (
            {"task": {**SUM, "cases": [{"arguments": [""] * 4097}]}, "reply": ""},
            "task.cases: case 1 has more than 32768 bytes of arguments",
        ),
        ({"task": {**CALLS, "entry_point": "f" * 257}, "reply": ""}, "task.entry_point is longer than 256 characters"),
        ({"task": {**SUM, "entry_point": "f" * 257}, "reply": ""}, "task.entry_point is longer than 256 characters"),
        ({"task": {**SUM, "prompt": "#" * 65537}, "reply": ""}, "task.prompt is longer than 65536 characters"),
        ({"task": {**SUM, "stops": ["a"] * 65}, "reply": ""}, "task.stops has 65 entries; use at most 64"),
        (
            {"task": {**SUM, "language": "bash", "prompt": "f() {", "tests": "#" * 262145}, "reply": ""},
            "task.tests is longer than 262144 characters",
        ),
        (
            {"task": SUM, "files": {"program.py": "", "a/" * 32 + "b": ""}},
            f"files names '{'a/' * 32}b', which has more than 32 parts; use a short relative path",
        ),
    ],
)  # fmt: skip
def test_what_an_item_may_not_ask_for_is_refused_by_name(item: dict[str, Any], reason: str) -> None:
    assert refusal(item) == f"items[0]: {reason}"


def test_a_batch_is_refused_as_a_whole() -> None:
    good = {"task": "T/0", "reply": ""}
    assert refusal(*[good] * 4) == "items has 4 entries; use 1 to 3 (judge_service.batch)"
    assert refusal() == "items has 0 entries; use 1 to 3 (judge_service.batch)"
    same = "two items have the same id; verdicts arrive in any order, so ids must differ"
    assert refusal({**good, "id": 1}, {**good, "id": 1}) == same
    unknown = "the body is not a valid batch: Object contains unknown field `sandbox` - at `$.items[0]`"
    assert refusal({**good, "sandbox": "none"}) == unknown
    with pytest.raises(BadRequest, match=r"^the body is not a valid batch: JSON is malformed: .*$"):
        read_batch(b"nothing", "", {}, (), MAXIMA)
    with pytest.raises(BadRequest, match=r"^the body is not a valid batch: 'utf-8' codec can't decode byte 0xff .*$"):
        read_batch(b'{"items": [{"id": "\xff", "task": "T/0", "reply": ""}]}', "", {}, (), MAXIMA)
