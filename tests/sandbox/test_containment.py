"""Hostile programs: no attack succeeds or leaves a trace, and the next program runs normally."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from swarmeval.doctor.hostile import ESCAPES, EXHAUSTION, refused
from swarmeval.location import ROOT
from swarmeval.records import Outcome, Program
from swarmeval.sandbox.runner import Sandbox
from tests.support.sandbox_runs import MEMORY_MB, descendants, folders, run_all


@pytest.fixture(scope="module", autouse=True)
def all_layers() -> None:
    """Skip if a layer is missing: the claims hold only with all layers."""

    async def missing() -> dict[str, str]:
        async with Sandbox(1, 1.0, MEMORY_MB) as sandbox:
            return sandbox.missing()

    if reasons := asyncio.run(missing()):
        pytest.skip(f"this machine lacks {reasons}")


@pytest.mark.slow
def test_no_program_gets_out() -> None:
    found = run_all(*ESCAPES.values())
    held = {name: execution.detail for name, execution in zip(ESCAPES, found, strict=True)}
    assert {name: detail for name, detail in held.items() if detail} == {}
    assert {execution.outcome for execution in found} == {Outcome.PASSED}


@pytest.mark.slow
def test_no_program_takes_more_than_its_share() -> None:
    before = folders()
    found = run_all(*(program for program, _ in EXHAUSTION.values()), "pass", timeout_s=2.0, memory_mb=256)
    assert found.pop().outcome is Outcome.PASSED
    outcomes = {name: str(execution.outcome) for name, execution in zip(EXHAUSTION, found, strict=True)}
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in EXHAUSTION[name][1]} == {}
    assert (descendants(), folders()) == (set(), before)


@pytest.mark.slow
def test_loopback_is_not_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = run_all(refused("import socket", f"socket.create_connection(('127.0.0.1', {port}), 1)"))
    assert found.outcome is Outcome.PASSED


@pytest.mark.slow
def test_the_checkout_and_our_secrets_are_out_of_sight(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    programs = [
        refused(f"open({str(tmp_path / 'secret')!r}).read()"),
        refused(f"open({str(ROOT / 'README.md')!r}).read()"),
        refused(f"open({str(ROOT / 'x')!r}, 'w')"),
        refused(f"open('/proc/{os.getpid()}/environ').read()"),
    ]
    assert {execution.outcome for execution in run_all(*programs)} == {Outcome.PASSED}


@pytest.mark.slow
def test_a_program_runs_as_nobody() -> None:
    (found,) = run_all("import os\nassert os.getresuid() == os.getresgid() == (65534,) * 3")
    assert (found.outcome, found.detail) == (Outcome.PASSED, "")


@pytest.mark.slow
def test_nothing_stays_mounted_or_running() -> None:
    def view() -> tuple[str, int]:
        return Path("/proc/self/mounts").read_text(encoding="utf-8"), len(descendants())

    async def session() -> None:
        async with Sandbox(2, 1.0, MEMORY_MB) as sandbox:
            await sandbox.run(Program("open('x', 'w').write('x' * 99)"))

    before = view()
    asyncio.run(session())
    assert view() == before


KEEPS = (
    "PATHS = '/tmp/kept', '../kept', '/dev/shm/kept', '/var/tmp/kept', 'kept'\n"
    "def f(x):\n"
    "    for path in PATHS:\n"
    "        try:\n"
    "            if open(path).read() == 'x': return sorted(x)\n"
    "        except OSError: pass\n"
    "    for path in PATHS:\n"
    "        try: open(path, 'w').write('x')\n"
    "        except OSError: pass"
)


@pytest.mark.slow
def test_a_run_leaves_nothing_for_the_next_run_of_its_task() -> None:
    tests = "def check(candidate):\n    assert candidate([2, 1]) == [1, 2]\ncheck(f)"
    executions = run_all(*[Program(KEEPS, tests, "f")] * 3)
    assert [execution.outcome for execution in executions] == [Outcome.WRONG_ANSWER] * 3
    twice = tests.replace("    assert", "    candidate([])\n    assert")  # within one run, its files stay
    assert [execution.outcome for execution in run_all(Program(KEEPS, twice, "f"))] == [Outcome.PASSED]


@pytest.mark.slow
def test_the_mode_of_the_common_folder_does_not_outlive_a_program() -> None:
    found = run_all(
        "import os\ntry: os.chmod('/tmp', 0)\nexcept OSError: pass",
        "open('x', 'w')\nimport tempfile\ntempfile.TemporaryFile()",
    )
    assert [execution.outcome for execution in found] == [Outcome.PASSED] * 2


@pytest.mark.slow
def test_a_program_that_wakes_only_to_be_looked_at_is_charged_all_its_time() -> None:
    """The program computes around each expected check of its limit and sleeps in between."""
    dodger = (
        "import time\nT = 1.0\nnext = time.monotonic() - 0.002 + T\nwhile True:\n"
        "    time.sleep(max(0, next - 0.01 - time.monotonic()))\n"
        "    while time.monotonic() < next + 0.002: pass\n    used = time.process_time()\n"
        "    while time.monotonic() < next + 0.04: pass\n    next += 0.004 + max(0.05, T - used)"
    )
    (found,) = run_all(dodger, timeout_s=1.0)
    assert found.outcome is Outcome.TIMED_OUT
    assert found.wall_s < 8


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["x", "\U0001f600"])
def test_a_program_too_large_for_its_memory_is_out_of_memory(letter: str) -> None:
    tests = "def check(candidate):\n    assert candidate(1) == 1\ncheck(f)"
    sizes = (1 << 19, 1 << 20, 1 << 21, 1 << 25)
    programs = [Program(f"def f(x): return x\n#{letter * size}", tests, "f") for size in sizes]
    outcomes = [execution.outcome for execution in run_all(*programs, "pass", memory_mb=64)]
    assert outcomes == [Outcome.PASSED, *[Outcome.OUT_OF_MEMORY] * 3, Outcome.PASSED]
