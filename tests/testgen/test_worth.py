"""The worth of generated tests, measured in the sandbox."""

import asyncio
from pathlib import Path

import pytest

from swarmeval.testgen.combine import combine
from swarmeval.testgen.harness_output import Forged, HarnessReport, read
from swarmeval.testgen.packages import Skips, find_roots
from swarmeval.testgen.pieces import Part
from swarmeval.testgen.prompts import prompt_imports
from swarmeval.testgen.sources import Module, modules
from swarmeval.testgen.worth import Weigher, Worth, statements
from tests.support.checkout import ROOT
from tests.support.made_up_package import package
from tests.support.sandbox_runs import MEMORY_MB

SOURCE = '''
def sign(x):
    """The sign of a number."""
    if x < 0:
        return -1
    if x > 0:
        return 1
    return 0

def double(x):
    return 2 * x
'''


def weighed(
    packages: list[str], replies: dict[str, str], file_timeout_s: float = 20.0, test_timeout_s: float = 1.0
) -> Worth:
    """The worth of the tests of a single module, given one reply per function."""
    (module,) = modules(packages, Skips())
    return asyncio.run(_weighed(packages, module, replies, file_timeout_s, test_timeout_s))


async def _weighed(
    packages: list[str], module: Module, replies: dict[str, str], file_timeout_s: float, test_timeout_s: float
) -> Worth:
    known = {one.qualname: one for one in module.functions}
    parts = [
        Part(known[name].function_id, reply, prompt_imports(known[name]), known[name].subject)
        for name, reply in replies.items()
    ]
    weigher = Weigher(
        find_roots(packages),
        workers=1,
        file_timeout_s=file_timeout_s,
        test_timeout_s=test_timeout_s,
        memory_mb=2 * MEMORY_MB,
    )
    async with weigher:
        return await weigher.weigh(module, combine(parts))


def outcomes(worth: Worth) -> dict[str, str]:
    return {test.name: test.outcome for test in worth.tests}


def made(tmp_path: Path) -> list[str]:
    return [package(tmp_path, {"__init__.py": SOURCE})]


@pytest.mark.slow
def test_passing_failing_and_hanging_tests_differ_and_lines_are_counted(tmp_path: Path) -> None:
    result = weighed(
        made(tmp_path),
        {
            "sign": "def test_minus():\n    assert sign(-3) == -1\ndef test_wrong():\n    assert sign(0) == 5\n"
            "def test_weak():\n    sign(1)\n    double(1)\ndef test_asks(nothing):\n    assert nothing\n"
            "def test_hangs():\n    while True:\n        try: sign(1)\n        except Exception: pass\n"
            "def test_not_here():\n    pytest.skip('no')\n"
            "@pytest.mark.parametrize('x', [1, 0, -1])\ndef test_some(x):\n    assert sign(x) == 1\n",
        },
    )
    assert outcomes(result) == {
        "test_minus": "passed", "test_wrong": "failed", "test_weak": "failed", "test_asks": "error",
        "test_hangs": "timed_out", "test_not_here": "skipped", "test_some": "failed",
    }  # fmt: skip
    details = {test.name: test.detail for test in result.tests}
    assert details["test_weak"] == "NameError: name 'double' is not defined"
    assert details["test_asks"] == "fixture 'nothing' not found"
    assert {test.name for test in result.tests if not test.asserts} == {"test_weak", "test_hangs", "test_not_here"}
    assert [test.cases for test in result.tests] == [1, 1, 1, 1, 1, 1, 3]
    sign, double = result.functions
    assert (sign.statements, sign.covered, sign.coverage) == (5, 5, 1.0)
    assert (double.statements, double.covered) == (1, 0)
    assert (result.collected, result.unimported, result.runs) == (True, "", 1)


@pytest.mark.slow
def test_what_ends_the_process_costs_the_others_nothing(tmp_path: Path) -> None:
    result = weighed(
        made(tmp_path),
        {
            "sign": "def test_a():\n    assert sign(1)\ndef test_exit():\n    import os\n    os._exit(0)\n"
            "def test_b():\n    assert sign(-1)\ndef test_crash():\n    import ctypes\n    ctypes.string_at(0)\n"
            "def test_deaf():\n    import signal\n    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
            "    while True: pass\ndef test_memory():\n    x = [0] * 10**10\ndef test_c():\n    assert sign(0) == 0\n"
        },
        file_timeout_s=3.0,
    )
    assert outcomes(result) == {
        "test_a": "passed", "test_exit": "crashed", "test_b": "passed", "test_crash": "crashed",
        "test_deaf": "timed_out", "test_memory": "failed", "test_c": "passed",
    }  # fmt: skip
    assert (result.functions[0].covered, result.runs) == (5, 4)


@pytest.mark.slow
def test_an_import_that_fails_costs_only_the_tests_that_need_it(tmp_path: Path) -> None:
    result = weighed(
        made(tmp_path),
        {
            "sign": "from made import no_such\ndef test_a(): assert no_such",
            "double": "def test_b(): assert double(1) == 2",
        },
    )
    assert outcomes(result) == {"test_a": "error", "test_b": "passed"}
    assert (result.collected, list(result.broken_imports)) == (False, ["from made import no_such"])
    assert result.functions[1].coverage == 1.0


@pytest.mark.slow
def test_a_file_whose_code_fails_when_it_is_imported_is_not_collected(tmp_path: Path) -> None:
    result = weighed(made(tmp_path), {"sign": "def helper(x=nowhere): pass\ndef test_a(): assert helper()"})
    assert outcomes(result) == {"test_a": "uncollected"}
    assert (result.collected, result.reason) == (False, "NameError: name 'nowhere' is not defined")


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_is_named_and_no_test_is_blamed(tmp_path: Path) -> None:
    broken = package(tmp_path, {"__init__.py": f"import no_such\n{SOURCE}"})
    result = weighed([broken], {"sign": "def test_a(): assert sign"})
    assert outcomes(result) == {"test_a": "uncollected"}
    assert result.unimported == "ModuleNotFoundError: No module named 'no_such'"
    assert result.reason == f"the module under test cannot be imported: {result.unimported}"


FORGERS = {
    "writes lines": "import os\n    os.write(3, b'x ended 0 passed 1 \\n')",
    "writes an end": "import os\n    os.write(3, b'\\0PASSED\\n')\n    os._exit(0)",
    "replaces what the harness uses": "import os, json\n    os.write = json.dumps = None\n    assert 0",
}


ENDS = {"writes lines": "tampered", "writes an end": "tampered", "replaces what the harness uses": "failed"}


@pytest.mark.slow
@pytest.mark.parametrize(("way", "outcome"), list(ENDS.items()))
def test_a_test_that_does_not_know_the_word_forges_nothing(tmp_path: Path, way: str, outcome: str) -> None:
    result = weighed(made(tmp_path), {"sign": f"def test_a():\n    {FORGERS[way]}\n"})
    assert outcomes(result) == {"test_a": outcome}
    assert result.functions[0].covered == 0


@pytest.mark.slow
def test_nothing_but_the_package_and_its_tools_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    result = weighed(
        made(tmp_path),
        {
            "sign": "def test_numpy():\n    with pytest.raises(ImportError):\n        import numpy\n"
            f"def test_secret():\n    with pytest.raises(OSError): open({str(tmp_path / 'secret')!r})\n"
            f"def test_checkout():\n    with pytest.raises(OSError): open({str(ROOT / 'README.md')!r})\n"
            "def test_net():\n    import socket\n    with pytest.raises(OSError):\n"
            "        socket.create_connection(('127.0.0.1', 1))\n"
            "def test_fork():\n    import os\n    with pytest.raises(OSError): os.fork()\n"
        },
    )
    assert set(outcomes(result).values()) == {"passed"}


@pytest.mark.slow
def test_real_functions_of_numpy(tmp_path: Path) -> None:
    result = weighed(
        ["numpy.lib._function_base_impl"],
        {
            "flip": "```python\nimport numpy as np\n\ndef test_flip():\n    assert flip([1, 2]).tolist() == [2, 1]\n\n"
            "@pytest.mark.parametrize('axis', [0, 1, (0, 1)])\ndef test_axis(axis):\n"
            "    np.testing.assert_array_equal(flip(np.eye(2), axis).shape, (2, 2))\n```",
            "rot90": "Tests:\n\nimport numpy as np\n\ndef test_flip():\n    assert rot90(np.eye(2), 4).sum() == 2\n"
            "def test_bad():\n    with pytest.raises(ValueError):\n        rot90(np.eye(2), axes=(0, 0))\n",
            "vectorize.__call__": "def test_it():\n    assert vectorize(abs)([-1]).tolist() == [1]",
        },
    )
    assert outcomes(result) == {
        "test_flip": "passed", "test_axis": "passed", "test_flip_2": "passed", "test_bad": "passed",
        "test_it": "passed",
    }  # fmt: skip
    parts = {one.function_id.partition(":")[2]: one for one in result.functions}
    assert (parts["flip"].coverage, parts["vectorize.__call__"].covered) == (1.0, 2)
    assert 0 < (parts["rot90"].coverage or 0) < 1
    assert result.outcomes() == {"passed": 5}


def test_statements_are_those_of_the_body(tmp_path: Path) -> None:
    (module,) = modules(made(tmp_path), Skips())
    assert statements(module) == {"made:sign": {4, 5, 6, 7, 8}, "made:double": {11}}


def reported(*lines: str, at_limit: bool = False) -> HarnessReport:
    return read("".join(f"{line}\n" for line in lines), "word", tests=2, lines=frozenset({3, 4}), at_limit=at_limit)


def test_what_the_harness_tells_is_read() -> None:
    report = reported(
        "word collected 2 1 ", "word began 0 1 5 ", "word lines 0 3 9 ", "word ended 0 failed 25 Why: so", "word done "
    )
    assert (report.items, report.unlisted, report.done) == (2, 1, True)
    (ended,) = report.results
    assert (ended.test, ended.outcome, ended.detail, ended.lines) == (1, "failed", "Why: so", frozenset({3}))
    assert ended.took_s == pytest.approx(0.02)


@pytest.mark.parametrize(
    "lines",
    [
        ["other collected 1 0 "],
        ["word collected 1 0 ", "word began 1 0 5 "],
        ["word collected 1 0 ", "word began 0 2 5 "],
        ["word collected 1 0 ", "word ended 0 passed 5 "],
        ["word collected 1 0 ", "word began 0 0 5 ", "word ended 0 better 9 "],
        ["word collected 1 0 ", "word began 0 0 5 ", "word done "],
        ["word done ", "word done "],
        ["word what "],
        ["word collected x 0 "],
        ["Stack (most recent call first):"],
    ],
)
def test_output_that_the_harness_cannot_have_written_is_forged(lines: list[str]) -> None:
    with pytest.raises(Forged):
        reported(*lines)


def test_a_process_at_its_limit_leaves_where_it_was() -> None:
    report = reported(
        "word collected 1 0 ", "word began 0 0 5 ", "Stack (most recent call first):", "  File x", at_limit=True
    )
    assert report.running == (0, 0, 0.005)
