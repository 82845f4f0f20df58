"""SandboxFusion's own client from PyPI, unchanged, against the judge over HTTP."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.judge_server import judging

if TYPE_CHECKING:
    import sandbox_fusion as sf
else:
    sf = pytest.importorskip("sandbox_fusion", reason="needs sandbox-fusion, of the dev extra")
pytestmark = pytest.mark.slow

KEY = "the-key-of-a-trainer"
FIXED = "```python\ndef truncate_number(number):\n    return number % 1\n```"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with judging("judge_service.languages=[python, bash]", "eval_timeout=10", keys=(KEY,)) as (client,):
        yield client.root.replace("http://", f"http://trainer:{KEY}@")


def run(endpoint: str, code: str, language: str = "python", **more: Any) -> Any:
    return sf.run_code(sf.RunCodeRequest(code=code, language=language, **more), endpoint, max_attempts=1)


def submit(endpoint: str, completion: str, dataset: str = "humaneval_python", **config: Any) -> Any:
    request = sf.SubmitRequest(dataset=dataset, id=2, completion=completion, config=sf.TestConfig(**config))
    return sf.submit(request, endpoint, max_attempts=1)


def test_programs_run_and_their_output_comes_back(endpoint: str) -> None:
    found = run(endpoint, "import sys\nprint(open('a/b').read(), input())\nprint(2, file=sys.stderr)", stdin="in",
                files={"a/b": "ZmlsZQ=="})  # fmt: skip
    assert (found.status, found.message, found.compile_result, found.files) == ("Success", "", None, {})
    ended = found.run_result
    assert (ended.status, ended.return_code, ended.stdout, ended.stderr) == ("Finished", 0, "file in\n", "2\n")
    assert run(endpoint, "exit 3", "bash").run_result.return_code == 3


def test_failures_have_the_status_words_of_that_api(endpoint: str) -> None:
    raised = run(endpoint, "raise ValueError(3)")
    assert (raised.status, raised.run_result.status, raised.run_result.return_code) == ("Failed", "Finished", 1)
    assert raised.run_result.stderr.endswith("ValueError: 3\n")
    late = run(endpoint, "while True: pass", run_timeout=0.5)
    assert (late.status, late.run_result.status, late.run_result.return_code) == ("Failed", "TimeLimitExceeded", None)
    loud = run(endpoint, "while True: print('x' * 9999)")
    assert (loud.status, loud.run_result.return_code) == ("Failed", -9)
    assert loud.run_result.stderr.endswith("killed: more than 4194304 bytes of output")


def test_many_programs_run_at_once(endpoint: str) -> None:
    async def all_of_them() -> list[Any]:
        requests = [sf.RunCodeRequest(code=f"echo {number}", language="bash") for number in range(16)]
        return await asyncio.gather(*(sf.run_code_async(request, endpoint) for request in requests))

    assert [found.run_result.stdout for found in asyncio.run(all_of_them())] == [f"{n}\n" for n in range(16)]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"language": "sql"}, "language 'sql' is not offered; this server has python, bash"),
        ({"fetch_files": ["a"]}, "fetch_files is not offered; print what you need"),
        ({"run_timeout": 11}, "run_timeout is 11; use more than 0 and at most 10 (eval_timeout)"),
        ({"compile_timeout": 61}, "compile_timeout is 61; use more than 0 and at most 60"),
        ({"files": {"/a": ""}}, "files names '/a', which is absolute; use a short relative path"),
        ({"files": {"a": "/w=="}}, "files: 'a' is not UTF-8 text in base64; other files are not offered"),
        ({"files": {"a": "é"}}, "files: 'a' is not UTF-8 text in base64; other files are not offered"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(endpoint: str, asked: dict[str, Any], reason: str) -> None:
    with pytest.raises(Exception, match="Faas api responded with code 400") as caught:
        run(endpoint, "1", **asked)
    assert f'"message":"{reason}"' in str(caught.value)


def test_jupyter_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(Exception, match=r"code 501.*/run_jupyter is not offered by this server"):
        sf.run_jupyter(sf.RunJupyterRequest(cells=["1"]), endpoint, max_attempts=1)


def test_submissions_to_the_benchmark_are_judged(endpoint: str) -> None:
    prompt = sf.get_prompt_by_id(
        sf.GetPromptByIdRequest(dataset="humaneval_python", id=2, config=sf.TestConfig()), endpoint
    )
    assert (prompt.id, "def truncate_number" in prompt.prompt) == ("HumanEval/2", True)
    right = submit(endpoint, FIXED, extra={"is_freeform": True})
    assert (right.accepted, right.tests[0].passed, right.tests[0].exec_info.status) == (True, True, "Success")
    assert "return number % 1" in right.extracted_code
    assert right.full_code == f"{prompt.prompt}{right.extracted_code}"
    assert right.test_code is None  # the tests of the benchmark stay on the server
    wrong = submit(endpoint, "    return 3\n")
    assert (wrong.accepted, wrong.tests[0].exec_info.message) == (False, "WRONG_ANSWER")
    with pytest.raises(Exception, match=r"code 404.*dataset 'mbpp' is not offered; this server has humaneval, "):
        submit(endpoint, FIXED, "mbpp")


def test_submissions_to_provided_tasks_are_judged(endpoint: str) -> None:
    cases = [{"input": {"stdin": "1 2"}, "output": {"stdout": "3.00000001"}}]
    programs = {"dataset_type": "CommonOJDataset", "language": "python", "provided_data": {"id": 1, "test": cases}}
    assert submit(endpoint, "```python\nprint(sum(map(int, input().split())))\n```", "any", **programs).accepted
    assert not submit(endpoint, "```python\nprint(4)\n```", "any", **programs).accepted
    row = {"prompt": "def f(x):\n", "entry_point": "f", "test": "def check(f):\n    assert f(2) == 4\n"}
    functions = {"dataset_type": "HumanEvalDataset", "provided_data": row}
    assert submit(endpoint, "    return 2 * x\n", "any", **functions).accepted
    with pytest.raises(Exception, match=r"config\.dataset_type 'AutoEvalDataset' is not offered with provided_data"):
        submit(endpoint, "1", "any", dataset_type="AutoEvalDataset", provided_data=row)
