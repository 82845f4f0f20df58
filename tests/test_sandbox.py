"""The sandbox: every end of a program is named, nothing outlives its verdict, our faults are not the program's."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import psutil
import pytest

from bench.errors import SandboxError
from bench.records import Execution, Outcome
from sandbox.runner import ROOT, Sandbox
from tests.sandboxed import MEMORY_MB, TIMEOUT_S, descendants, folders, run_all, when

ENDINGS = {
    "x = 1": (Outcome.PASSED, ""),
    "print('x' * 10**6)\nimport sys\nsys.stderr.write('x')": (Outcome.PASSED, ""),
    "assert __name__ == 'builtins'": (Outcome.PASSED, ""),
    "assert 1 == 2, 'no'": (Outcome.WRONG_ANSWER, "AssertionError: no (line 1: assert 1 == 2, 'no')"),
    "raise ValueError('a\\nb')": (Outcome.RAISED, "ValueError: a b (line 1: raise ValueError('a\\nb'))"),
    "import sys; sys.exit(0)": (Outcome.RAISED, "SystemExit: 0 (line 1: import sys; sys.exit(0))"),
    "input()": (Outcome.RAISED, "OSError (line 1: input())"),
    "import bench": (Outcome.RAISED, "ModuleNotFoundError: No module named 'bench' (line 1: import bench)"),
    "import os; os._exit(0)": (Outcome.CRASHED, "ended without a word, exit code 0"),
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": (Outcome.CRASHED, "SIGSEGV"),
    "import os; os.closerange(0, 1000)": (Outcome.CRASHED, "ended without a word, exit code 0"),
    "x = [0] * 10**10": (Outcome.OUT_OF_MEMORY, "MemoryError"),
    "def f(:": (Outcome.BAD_SYNTAX, "SyntaxError: invalid syntax (<string>, line 1)"),
    "return 1": (Outcome.BAD_SYNTAX, "SyntaxError: 'return' outside function (<string>, line 1)"),
    "class E(Exception):\n    def __str__(self): return self\nraise E": (
        Outcome.RAISED, "an exception that cannot be shown: TypeError",
    ),
    "import os\nfor fd in range(3, 99):\n    try: os.write(fd, b'{\"outcome\": 1}')\n    except OSError: pass": (
        Outcome.TAMPERED, "the program wrote to the judge's pipe",
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
    assert (found.outcome, found.detail) == (Outcome.TIMED_OUT, "no end after 0.5 s")
    assert 0.5 <= found.wall_s < 1.5
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
@pytest.mark.parametrize("program", [DAEMON, FORK_BOMB, "import threading\nthreading.Thread(target=input).start()"])
def test_nothing_outlives_its_verdict(program: str) -> None:
    async def session() -> None:
        async with Sandbox(1, 1.0, MEMORY_MB) as sandbox:
            before = descendants()
            await sandbox.run(program)
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
def test_programs_have_a_group_each_and_a_session_that_yields_to_ours() -> None:
    """A session of its own would get as much time as the decoder's, where the kernel shares it out by session."""
    (found,) = run_all(
        f"import os\nassert os.getpgid(0) == os.getpid()\nassert os.getsid(0) != {os.getsid(0)}\n"
        "assert os.getpriority(os.PRIO_PROCESS, 0) == 19\n"
        "group = '/proc/self/autogroup'\nassert not os.path.exists(group) or open(group).read().endswith('nice 19\\n')"
    )
    assert found == Execution(Outcome.PASSED, "", found.wall_s)


@pytest.mark.slow
def test_no_secret_of_the_environment_is_visible() -> None:
    names = "{'PATH', 'LANG', 'LC_CTYPE', 'OMP_NUM_THREADS', 'PYTHONHASHSEED', 'TMPDIR'}"
    (found,) = run_all(f"import os\nassert set(os.environ) <= {names}, set(os.environ)")
    assert found == Execution(Outcome.PASSED, "", found.wall_s)


@pytest.mark.slow
def test_no_more_programs_than_workers_run_at_once() -> None:
    program = "import os, time\nassert len(os.listdir('/proc/self/fd')) <= 5\ntime.sleep(0.2)"

    async def session() -> float:
        async with Sandbox(2, TIMEOUT_S, MEMORY_MB) as sandbox:
            started = time.monotonic()
            found = await asyncio.gather(*(sandbox.run(program) for _ in range(6)))
            assert {execution.outcome for execution in found} == {Outcome.PASSED}
            return time.monotonic() - started

    assert asyncio.run(session()) >= 0.6


async def with_endless_program(act: Callable[[Sandbox, "asyncio.Task[Execution]"], Awaitable[None]]) -> None:
    """Act while an endless program runs on the one warm parent."""
    async with Sandbox(1, 60.0, MEMORY_MB) as sandbox:
        running = asyncio.create_task(sandbox.run("while True: pass"))
        await when(lambda: len(descendants()) == 2)
        await act(sandbox, running)


@pytest.mark.slow
def test_a_program_whose_warm_parent_is_killed_runs_again() -> None:
    async def session() -> None:
        async with Sandbox(1, TIMEOUT_S, MEMORY_MB) as sandbox:
            (zygote,) = descendants()
            running = asyncio.create_task(sandbox.run("import time\ntime.sleep(0.5)"))
            await when(lambda: len(descendants()) == 2)
            zygote.kill()
            assert (await running).outcome is Outcome.PASSED

    asyncio.run(session())
    assert descendants() == set()


@pytest.mark.slow
def test_a_program_that_kills_its_judge_is_to_blame() -> None:
    kill = "import os\nos.kill(os.getppid(), 9)"
    found = run_all(kill, "pass")
    assert found[0] == Execution(Outcome.TAMPERED, "its judge ended under it 3 times: exit code -9")
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


TALKATIVE = """
import os, sys
frame = sys._getframe()
while 'token' not in frame.f_locals: frame = frame.f_back
os.write(frame.f_locals['report'], frame.f_locals['token'] + {word})
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("word", [b"WINNER\n", b"RAISED", b"{}", b"!broken", b"\xff\xfe\n"])
def test_a_report_that_is_none_is_no_fault_of_ours(word: bytes) -> None:
    (found,) = run_all(TALKATIVE.format(word=word))
    assert found.outcome in (Outcome.TAMPERED, Outcome.RAISED)


@pytest.mark.slow
def test_a_program_that_stops_its_judge_is_to_blame_and_holds_nobody_up() -> None:
    async def session() -> None:
        async with Sandbox(1, 0.5, MEMORY_MB, spare_s=0.5) as sandbox:
            found = await sandbox.run("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)")
            assert found.outcome is Outcome.TAMPERED
            assert (await sandbox.run("pass")).outcome is Outcome.PASSED

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
        assert (await sandbox.run("pass")).outcome is Outcome.PASSED

    asyncio.run(with_endless_program(act))


@pytest.mark.slow
def test_leaving_the_context_kills_what_runs() -> None:
    left: list[asyncio.Task[Execution]] = []

    async def act(sandbox: Sandbox, running: "asyncio.Task[Execution]") -> None:
        left.append(running)

    async def session() -> None:
        await with_endless_program(act)
        assert descendants() == set()
        with pytest.raises(SandboxError, match=r"^sandbox: it was closed while a program ran$"):
            await left[0]

    asyncio.run(session())


COORDINATOR = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from sandbox.runner import Sandbox
async def main():
    async with Sandbox(2, 600.0, 1024) as sandbox:
        print("up", flush=True)
        await asyncio.gather(*(sandbox.run(program) for program in sys.argv[2:]))
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_killed_coordinator_leaves_no_process_and_no_folder() -> None:
    before = folders()
    command = [sys.executable, "-c", COORDINATOR, str(ROOT), "while True: pass", DAEMON + "while True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout is not None
        assert coordinator.stdout.readline() == b"up\n"

        async def session() -> None:
            try:  # alive: coordinator, two warm parents, two programs, a daemon
                await when(lambda: sum(map(is_alive, descendants())) == 6)
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
        async with Sandbox(1, TIMEOUT_S, MEMORY_MB) as sandbox:
            return sandbox.in_force()

    line = asyncio.run(session())
    assert line.startswith("own process group, rlimits (memory, cpu, ")
    assert line.endswith("core), private folder, empty environment, no_new_privs, nice 19")
