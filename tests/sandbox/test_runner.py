"""The sandbox: each way a program can end has an outcome, nothing outlives the verdict, our faults are ours."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from swarmeval.errors import SandboxError
from swarmeval.location import ROOT
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.folders import pid_namespace, sweep
from swarmeval.sandbox.runner import Sandbox
from tests.support.sandbox_runs import MEMORY_MB, TIMEOUT_S, descendants, folders, run_all, when

ENDINGS = {
    "x = 1": (Outcome.PASSED, ""),
    "print('x' * 10**6)\nimport sys\nsys.stderr.write('x')": (Outcome.PASSED, ""),
    "assert __name__ == 'builtins'": (Outcome.PASSED, ""),
    "assert 1 == 2, 'no'": (Outcome.WRONG_ANSWER, "AssertionError: no (line 1: assert 1 == 2, 'no')"),
    "raise ValueError('a\\nb')": (Outcome.RAISED, "ValueError: a b (line 1: raise ValueError('a\\nb'))"),
    "import sys; sys.exit(0)": (Outcome.RAISED, "SystemExit: 0 (line 1: import sys; sys.exit(0))"),
    "input()": (Outcome.RAISED, "OSError (line 1: input())"),
    "import swarmeval": (
        Outcome.RAISED,
        "ModuleNotFoundError: No module named 'swarmeval' (line 1: import swarmeval)",
    ),
    "import os; os._exit(0)": (Outcome.CRASHED, "The interpreter crashed with no output, exit code 0"),
    "import ctypes; ctypes.string_at(0)": (Outcome.CRASHED, "SIGSEGV"),
    "import os; os.closerange(0, 1000)": (Outcome.CRASHED, "The interpreter crashed with no output, exit code 0"),
    "x = [0] * 10**10": (Outcome.OUT_OF_MEMORY, "MemoryError"),
    "def f(:": (Outcome.BAD_SYNTAX, "SyntaxError: invalid syntax (<string>, line 1)"),
    "return 1": (Outcome.BAD_SYNTAX, "SyntaxError: 'return' outside function (<string>, line 1)"),
    "class E(Exception):\n    def __str__(self): return self\nraise E": (
        Outcome.RAISED, "an exception that cannot be shown: TypeError",
    ),
    "import os\nfor fd in range(3, 99):\n    try: os.write(fd, b'{\"outcome\": 1}')\n    except OSError: pass": (
        Outcome.TAMPERED, "the program wrote to the judge's channel",
    ),
}  # fmt: skip


@pytest.mark.slow
def test_every_ending_is_named() -> None:
    found = run_all(*ENDINGS)
    assert [(execution.outcome, execution.detail) for execution in found] == list(ENDINGS.values())


@pytest.mark.slow
def test_an_endless_program_is_ended_at_its_limit() -> None:
    stubborn = (
        "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    try: 1 / 0\n    except: pass"
    )
    started = time.monotonic()
    (found,) = run_all(stubborn, timeout_s=0.5)
    assert (found.outcome, found.detail[:36]) == (Outcome.TIMED_OUT, "Time limit exceeded: 0.5 s, in line ")
    assert found.wall_s >= 0.5
    assert time.monotonic() - started < 10.0


@pytest.mark.slow
def test_endless_output_is_only_slow() -> None:
    (found,) = run_all("while True: print('x' * 1000)", timeout_s=0.5)
    assert found.outcome is Outcome.TIMED_OUT


@pytest.mark.slow
def test_a_memory_bomb_is_out_of_memory_and_the_next_program_runs() -> None:
    found = run_all("l = []\nwhile True: l.append('x' * 10**6)", "pass", timeout_s=30.0, memory_mb=256)
    assert [execution.outcome for execution in found] == [Outcome.OUT_OF_MEMORY, Outcome.PASSED]


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)
"""
FORK_BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "none"])
@pytest.mark.parametrize("program", [DAEMON, FORK_BOMB, "import threading\nthreading.Thread(target=input).start()"])
def test_nothing_outlives_its_verdict(program: str, mode: str) -> None:
    async def session() -> None:
        async with Sandbox(1, 1.0, MEMORY_MB, mode) as sandbox:
            before = descendants()
            await sandbox.run(Program(program))
            assert descendants() == before

    asyncio.run(session())
    assert descendants() == set()


@pytest.mark.slow
def test_files_of_a_program_are_removed_and_invisible_to_the_next() -> None:
    before = folders()
    litter = (
        "import os, tempfile\nassert os.listdir('.') == []\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\n"
        "open(tempfile.mkstemp()[1]).close()\nos.symlink('/', 'a/root')\nos.chmod('a', 0)"
    )
    assert [execution.outcome for execution in run_all(litter, litter)] == [Outcome.PASSED] * 2
    assert folders() == before


@pytest.mark.slow
@pytest.mark.parametrize("yields", [True, False])
def test_judges_and_programs_have_a_session_that_yields_if_it_should(yields: bool) -> None:
    """With kernel autogroups, a judge session of normal priority would get as much CPU time as the decoder's."""
    nice = 19 if yields else os.getpriority(os.PRIO_PROCESS, 0)

    async def act(sandbox: Sandbox, running: "asyncio.Task[Execution]") -> None:
        judges = descendants()
        assert {os.getsid(judge.pid) for judge in judges} == {psutil.Process().children()[0].pid}
        assert {judge.nice() for judge in judges} == {nice}
        groups = [Path("/proc", str(judge.pid), "autogroup") for judge in judges]
        assert {group.read_text().split()[-1] for group in groups if group.exists()} <= {str(nice)}
        running.cancel()

    asyncio.run(with_endless_program(act, yields))


@pytest.mark.slow
def test_no_secret_of_the_environment_is_visible() -> None:
    names = "{'PATH', 'LANG', 'LC_CTYPE', 'OMP_NUM_THREADS', 'PYTHONHASHSEED', 'TMPDIR'}"
    (found,) = run_all(f"import os\nassert set(os.environ) <= {names}, set(os.environ)")
    assert (found.outcome, found.detail) == (Outcome.PASSED, "")


@pytest.mark.slow
def test_no_more_programs_than_workers_run_at_once() -> None:
    program = (
        "import os, time\n"
        "def is_open(n):\n    try: os.fstat(n)\n    except OSError: return False\n    return True\n"
        "assert [n for n in range(999) if is_open(n)] == [0, 1, 2, 3]\ntime.sleep(0.2)"
    )

    async def session() -> float:
        async with Sandbox(2, TIMEOUT_S, MEMORY_MB) as sandbox:
            started = time.monotonic()
            found = await asyncio.gather(*(sandbox.run(Program(program)) for _ in range(6)))
            assert {execution.outcome for execution in found} == {Outcome.PASSED}
            return time.monotonic() - started

    assert asyncio.run(session()) >= 0.6


RUNNING = 6  # processes per slot while a program runs: warden, three jails, the tests, the program


async def with_endless_program(
    act: Callable[[Sandbox, "asyncio.Task[Execution]"], Awaitable[None]], yields: bool = False
) -> None:
    """Call `act` while an endless program runs on the only warden."""
    async with Sandbox(1, 60.0, MEMORY_MB, yields=yields) as sandbox:
        running = asyncio.create_task(sandbox.run(Program("while True: pass")))
        await when(lambda: len(descendants()) == RUNNING)
        await act(sandbox, running)


@pytest.mark.slow
def test_a_program_whose_warm_parent_is_killed_runs_again() -> None:
    async def session() -> None:
        async with Sandbox(1, TIMEOUT_S, MEMORY_MB) as sandbox:
            (warden,) = psutil.Process().children()
            running = asyncio.create_task(sandbox.run(Program("import time\ntime.sleep(0.5)")))
            await when(lambda: len(descendants()) == RUNNING)
            warden.kill()
            assert (await running).outcome is Outcome.PASSED

    asyncio.run(session())
    assert descendants() == set()


@pytest.mark.slow
def test_a_program_that_kills_its_judge_without_layers_is_to_blame() -> None:
    kill = "import os\nos.kill(os.getppid(), 9)"
    found = run_all(kill, "pass", mode="none")
    assert found[0] == Execution(Outcome.TAMPERED, "the program ended its judge 3 times: exit code 1, its jail is gone")
    assert found[1].outcome is Outcome.PASSED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "outcome", "detail"),
    [
        ("raise ValueError('\\ud800\\x00')", Outcome.RAISED, r"ValueError: \ud800"),
        (
            'import json\njson.dumps = lambda *a, **k: \'{"outcome": "PASSED"}\'\nassert False',
            Outcome.WRONG_ANSWER,
            "Assertion",
        ),
        ("import json.encoder\njson.encoder.JSONEncoder = None\n1 / 0", Outcome.RAISED, "ZeroDivisionError"),
        ("import builtins\nbuiltins.str = lambda *a: 'PASSED'\nassert False", Outcome.WRONG_ANSWER, ""),
    ],
)
def test_what_a_program_replaces_changes_no_outcome(program: str, outcome: Outcome, detail: str) -> None:
    (found,) = run_all(program)
    assert found.outcome is outcome
    assert found.detail.startswith(detail)
    found.detail.encode()


@pytest.mark.slow
@pytest.mark.fault(
    "judge stopped (SIGSTOP)",
    "by the program that it runs, without isolation layers",
    "the judge is replaced; the program is TAMPERED",
)
def test_a_program_that_stops_its_judge_without_layers_delays_nothing() -> None:
    async def session() -> None:
        async with Sandbox(1, 0.5, MEMORY_MB, mode="none", spare_s=0.5) as sandbox:
            found = await sandbox.run(Program("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)"))
            assert found.outcome is Outcome.TAMPERED
            assert (await sandbox.run(Program("pass"))).outcome is Outcome.PASSED

    asyncio.run(session())
    assert descendants() == set()


@pytest.mark.slow
def test_a_threaded_loop_in_c_is_a_time_out() -> None:
    (found,) = run_all(
        "import threading\nfor _ in range(4): threading.Thread(target=lambda: 9 ** 10 ** 9).start()\nwhile True: pass"
    )
    assert found.outcome is Outcome.TIMED_OUT


@pytest.mark.slow
def test_cancelling_a_run_kills_its_program_and_the_next_one_runs() -> None:
    async def act(sandbox: Sandbox, running: "asyncio.Task[Execution]") -> None:
        running.cancel()
        await asyncio.wait([running])
        await when(lambda: not descendants())
        assert (await sandbox.run(Program("pass"))).outcome is Outcome.PASSED

    asyncio.run(with_endless_program(act))


@pytest.mark.slow
def test_leaving_the_context_kills_what_runs() -> None:
    left: list[asyncio.Task[Execution]] = []

    async def act(sandbox: Sandbox, running: "asyncio.Task[Execution]") -> None:
        left.append(running)

    async def session() -> None:
        await with_endless_program(act)
        assert descendants() == set()
        with pytest.raises(SandboxError, match=r"^sandbox: closed while a program was running$"):
            await left[0]

    asyncio.run(session())


COORDINATOR = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from swarmeval.records import Program
from swarmeval.sandbox.runner import Sandbox
async def main():
    async with Sandbox(2, 600.0, 1024) as sandbox:
        print("up", flush=True)
        await asyncio.gather(*(sandbox.run(Program(program)) for program in sys.argv[2:]))
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_killed_coordinator_leaves_no_process_and_no_folder() -> None:
    before = folders()
    command = [sys.executable, "-c", COORDINATOR, str(ROOT), "while True: pass", "while True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout is not None
        assert coordinator.stdout.readline() == b"up\n"

        async def session() -> None:
            try:
                await when(lambda: sum(map(is_alive, descendants())) == 1 + 2 * RUNNING)
                processes = descendants()
            finally:
                coordinator.kill()
            await when(lambda: not any(map(is_alive, processes)))
            await when(lambda: folders() == before)

        asyncio.run(session())


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_what_is_in_force_is_said_in_one_line() -> None:
    async def session() -> str:
        async with Sandbox(1, TIMEOUT_S, MEMORY_MB, yields=True) as sandbox:
            return sandbox.in_force()

    line = asyncio.run(session())
    assert "rlimits (memory, cpu, " in line
    assert line.endswith("empty environment, no_new_privs, nice 19")


def test_folders_of_killed_runs_go_unless_their_process_may_live_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as process:
        process.wait()
    dead, here = process.pid, pid_namespace()
    names = [f"swarmeval-{dead}-{here}-a", f"swarmeval-{dead}-1-b", f"swarmeval-{os.getpid()}-{here}-c", "swarmeval-x"]
    for name in [*names, f"swarmeval-{dead}-1-old"]:
        (tmp_path / name).mkdir()
    os.utime(tmp_path / f"swarmeval-{dead}-1-old", (0, 0))
    sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
