"""The library's judge: verdicts from synchronous and asynchronous code, threads, forks and spawned processes."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from swarmeval import ConfigError, DataError, Executed, Judge, Outcome, SandboxError, Suite, Task, load_tasks
from swarmeval.executed import Case
from swarmeval.library.judge_thread import JudgeThread, refuse_unfit
from swarmeval.records import Completion
from swarmeval.settings.run_config import RunConfig
from tests.support.checkout import ROOT

ADD = Task("mine/add", "", Suite("add", "assert add(1, 2) == 3\nassert add(-1, 1) == 0"))
RIGHT = "Sure:\n```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"
FAR_TOO_LONG_S = 4.0  # a warden that another process keeps alive is killed after 5 s


def made(**settings: float) -> Judge:
    """A judge that starts fast, because it is not calibrated."""
    return Judge(eval_workers=2, eval_timeout=settings.get("timeout", 10.0), eval_timeout_scale=1.0)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with made() as started:
        yield started


def outcome_of(judge: Judge, text: str) -> str:
    return str(judge.judge(text, ADD).outcome)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (RIGHT, Outcome.PASSED),
        (WRONG, Outcome.WRONG_ANSWER),
        ("I cannot help with that.", Outcome.EMPTY),
        ("```python\ndef add(a, b:\n    return\n```", Outcome.BAD_SYNTAX),
        ("def add(a, b):\n    import os\n    os._exit(0)", Outcome.CRASHED),
        ("def add(a, b):\n    raise SystemExit(0)", Outcome.RAISED),
        ("def add(a, b):\n    class Same:\n        __eq__ = lambda self, other: True\n    return Same()",
         Outcome.WRONG_ANSWER),
        ("def add(a, b):\n    import os, signal\n    os.kill(0, signal.SIGKILL)\n    return a + b", Outcome.RAISED),
        ("```python\ndef add(a, b):\n    return a + b # \ud83d\n```", Outcome.PASSED),  # a lone surrogate
    ],
)  # fmt: skip
def test_replies_that_fail_crash_or_cheat_get_a_verdict(judge: Judge, text: str, outcome: Outcome) -> None:
    verdict = judge.judge(text, ADD)
    assert (verdict.outcome, verdict.passed) == (outcome, outcome is Outcome.PASSED)


@pytest.mark.slow
def test_an_endless_program_gets_a_verdict() -> None:
    with made(timeout=0.3) as judge:
        assert judge.judge("def add(a, b):\n    while True: pass", ADD).outcome is Outcome.TIMED_OUT
        assert outcome_of(judge, RIGHT) == "PASSED"


@pytest.mark.slow
def test_completions_and_solutions_of_a_benchmark_are_judged(judge: Judge) -> None:
    task = load_tasks(limit=1)[0]
    assert judge.judge(task.reference, task, "completion").passed
    assert judge.judge(task.prompt + task.reference, task, "solution").passed
    assert judge.judge(f"{RIGHT}", task).outcome is not Outcome.PASSED


@pytest.mark.slow
def test_verdicts_come_in_the_order_of_the_texts(judge: Judge) -> None:
    verdicts = judge.judge_all([RIGHT, WRONG] * 20, ADD)
    assert [verdict.passed for verdict in verdicts] == [True, False] * 20
    assert [verdict.job_id for verdict in verdicts[:2]] == ["0/mine/add/0/0", "0/mine/add/1/0"]
    assert judge.judge_all([], []) == []


@pytest.mark.slow
def test_the_synchronous_form_works_inside_a_running_loop(judge: Judge) -> None:
    async def cell() -> str:
        return outcome_of(judge, RIGHT)

    assert asyncio.run(cell()) == "PASSED"


@pytest.mark.slow
def test_many_threads_and_loops_share_a_judge(judge: Judge) -> None:
    async def both() -> list[bool]:
        return [verdict.passed for verdict in await judge.judge_all_async([RIGHT, WRONG], ADD)]

    with ThreadPoolExecutor(8) as threads:
        sync = [threads.submit(outcome_of, judge, text) for text in (RIGHT, WRONG) * 4]
        loops = [threads.submit(asyncio.run, both()) for _ in range(4)]
        assert [future.result() for future in sync] == ["PASSED", "WRONG_ANSWER"] * 4
        assert [future.result() for future in loops] == [[True, False]] * 4


@pytest.mark.slow
def test_an_async_block_starts_and_ends_the_judge() -> None:
    async def block() -> bool:
        async with made() as judge:
            return (await judge.judge_async(RIGHT, ADD)).passed

    threads = threading.active_count()
    assert asyncio.run(block())
    assert threading.active_count() == threads


@pytest.mark.slow
def test_a_cancelled_caller_leaves_the_judge_usable(judge: Judge) -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0.2):
            await judge.judge_async("def add(a, b):\n    while True: pass", ADD)

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert time.monotonic() - started < FAR_TOO_LONG_S
    assert outcome_of(judge, RIGHT) == "PASSED"


@pytest.mark.slow
def test_a_caller_that_gives_up_during_the_start_stops_no_other() -> None:
    async def impatient(judge: Judge) -> None:
        async with asyncio.timeout(0):
            await judge.judge_async(RIGHT, ADD)

    judge = made()
    with pytest.raises(TimeoutError):
        asyncio.run(impatient(judge))
    assert outcome_of(judge, RIGHT) == "PASSED"
    judge.close()


@pytest.mark.slow
def test_a_completion_is_judged_by_the_task_beside_it(judge: Judge) -> None:
    subtract = Task("mine/subtract", "", Suite("add", "assert add(3, 1) == 2"))
    given = [(Completion("0/mine/add/0/0", WRONG), subtract), (Completion("no number", RIGHT), ADD)]
    assert [verdict.outcome for verdict in judge.judge_completions(given)] == ["PASSED", "PASSED"]


@pytest.mark.slow
def test_a_closed_judge_starts_again_when_it_is_used() -> None:
    judge = made()
    assert outcome_of(judge, RIGHT) == "PASSED"
    judge.close()
    judge.close()
    assert outcome_of(judge, WRONG) == "WRONG_ANSWER"
    judge.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_started_judge_can_be_used_in_another_process(method: str) -> None:
    program = [sys.executable, "-m", "tests.support.judge_in_two_processes", method]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    lines = [f"{who}: PASSED WRONG_ANSWER\n" for who in ("before", "child", "after")]
    assert (done.stdout, done.returncode) == ("".join(lines), 0), done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of a fork beside threads, from Python 3.12 on
def test_a_forked_process_does_not_keep_the_sandbox_alive() -> None:
    reading, writing = os.pipe()
    with made() as judge:
        assert outcome_of(judge, RIGHT) == "PASSED"
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
        started = time.monotonic()
    took_s = time.monotonic() - started
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)
    assert took_s < FAR_TOO_LONG_S


@pytest.mark.slow
def test_a_judge_that_is_dropped_ends_its_sandbox() -> None:
    before = set(threading.enumerate())
    judge = made().start()
    (thread,) = (found for found in set(threading.enumerate()) - before if found.name == "swarmeval-judge")
    del judge
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_judge_starts_under_the_loop_policy_of_uvloop() -> None:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    program = (
        "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())\n"
        "from swarmeval import Judge, Suite, Task\n"
        "with Judge(eval_workers=1, eval_timeout_scale=1.0) as judge:\n"
        "    print(judge.judge('def f(): return 1', Task('a', '', Suite('f', 'assert f() == 1'))).outcome)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "PASSED\n"


def test_a_judge_is_pickled_without_its_sandbox() -> None:
    assert isinstance(pickle.loads(pickle.dumps(made())), Judge)


@pytest.mark.slow
def test_a_sandbox_that_cannot_judge_raises_and_gives_no_verdict() -> None:
    text = (
        r"^sandbox: the canonical solution of HumanEval/\d+ ended as TIMED_OUT \(Time limit exceeded: .*\); "
        r"raise eval_timeout or eval_memory_mb, or run .* doctor$"
    )
    judge = Judge(eval_workers=2, eval_timeout=0.0002)
    with pytest.raises(SandboxError, match=text):
        judge.judge(RIGHT, ADD)
    judge.close()


@pytest.mark.slow
def test_a_judge_that_was_closed_meanwhile_raises_and_gives_no_verdict() -> None:
    thread = JudgeThread(RunConfig(eval_workers=1, eval_timeout_scale=1.0), ())
    thread.start()
    thread.started.result()
    thread.stop()
    with pytest.raises(SandboxError, match=r"^Judge: closed while it was used; close it after its last verdict$"):
        thread.submit(thread.verdicts([]))


@pytest.mark.slow
def test_two_tasks_of_one_id_are_refused(judge: Judge) -> None:
    assert judge.judge(RIGHT, ADD).passed
    with pytest.raises(DataError, match=r"^task 'mine/add': another task has this task_id; give each its own$"):
        judge.judge(RIGHT, Task("mine/add", "", Suite("add", "assert add(1, 1) == 2")))


@pytest.mark.parametrize(
    ("task", "error", "text"),
    [
        (Task("a", "", Suite("", "assert add(1, 2) == 3")), DataError,
         "task 'a': its entry_point is ''; name the function that its tests call"),
        (Task("a", "", Suite("add", "x = add(1, 2)")), DataError,
         "task 'a': its tests cannot fail: they assert nothing; write assertions"),
        (Task("a", "", Suite("", ""), executed=Executed("rust", (Case("1", "2"),))), ConfigError,
         "task 'a': executed in rust; prepare it with Judge(languages=['rust'])"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_judged_is_refused(task: Task, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        refuse_unfit(task, frozenset())
    assert str(caught.value) == text


def test_a_value_out_of_range_is_refused() -> None:
    text = r"^Judge: eval_workers is 0; it should be greater than or equal to 1$"
    with pytest.raises(ConfigError, match=text):
        Judge(eval_workers=0)
    with pytest.raises(ConfigError, match=r"^Judge: languages is 'rust'; give a list: \['rust'\]$"):
        Judge(languages="rust")


def test_texts_and_tasks_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"^2 texts and 1 tasks; give one task for each text, or one for all$"):
        made().judge_all([RIGHT, WRONG], [ADD])
    with pytest.raises(ValueError, match=r"^texts is a single text; give a list, or use judge\(\)$"):
        made().judge_all(RIGHT, ADD)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^form is 'program'; use reply, completion, solution$"):
        made().judge(RIGHT, ADD, "program")  # type: ignore[arg-type]


@pytest.mark.slow
def test_executed_tasks_are_judged_in_their_language() -> None:
    task = Task("mine/double", "", Suite("", ""), answer="program",
                executed=Executed("python", (Case("3\n", "6\n"),)))  # fmt: skip
    with Judge(eval_workers=1, eval_timeout_scale=1.0, languages=["python"]) as judge:
        verdicts = judge.judge_all(["print(2 * int(input()))", "print(3)"], task, "solution")
    assert [verdict.outcome for verdict in verdicts] == [Outcome.PASSED, Outcome.WRONG_ANSWER]
