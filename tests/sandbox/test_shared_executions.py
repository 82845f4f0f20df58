"""Equal programs are executed once, whether they wait or come later, and no failure is shared."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.errors import SandboxError
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.shared_executions import SharedExecutions

PROGRAM = Program("def f(): pass", "check(f)", "f")


class Runner:
    """Ends programs that contain "slow" in time only if they get the whole limit."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.failures = 0  # that come first

    async def run(self, program: Program, part: float) -> Execution:
        await asyncio.sleep(0)
        self.runs[program.solution] += 1
        if self.failures:
            self.failures -= 1
            raise SandboxError("no memory")
        is_late = "slow" in program.solution and part < 1
        return Execution(Outcome.TIMED_OUT if is_late else Outcome.PASSED, str(self.runs.total()), wall_s=part)


def shared(act: Callable[[SharedExecutions, Runner], Awaitable[None]], kept: int = 9) -> Runner:
    runner = Runner()

    async def session() -> None:
        await act(SharedExecutions(runner.run, kept), runner)

    asyncio.run(session())
    return runner


def test_programs_that_wait_and_later_ones_share_one_execution() -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        waiting = await asyncio.gather(*(executions.execution(PROGRAM) for _ in range(5)))
        later = await executions.execution(PROGRAM)
        assert [is_shared for _, is_shared in (*waiting, later)] == [False, True, True, True, True, True]
        assert len({execution for execution, _ in (*waiting, later)}) == 1

    assert shared(act).runs == {PROGRAM.solution: 1}


@pytest.mark.parametrize(
    "other",
    [
        replace(PROGRAM, solution="g"),
        replace(PROGRAM, tests="g"),
        replace(PROGRAM, entry_point="g"),
        replace(PROGRAM, context="g"),
        replace(PROGRAM, beside=True),
    ],
)
def test_programs_that_differ_in_anything_run_apart(other: Program) -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        found = await asyncio.gather(executions.execution(PROGRAM), executions.execution(other))
        assert not any(is_shared for _, is_shared in found)

    assert shared(act).runs.total() == 2


def test_a_time_out_in_a_hurry_is_retried_once_for_all_equal_programs() -> None:
    slow = Program("slow")

    async def act(executions: SharedExecutions, _: Runner) -> None:
        hurried = await asyncio.gather(*(executions.execution(slow, 0.2) for _ in range(3)))
        assert [execution.outcome for execution, _ in hurried] == [Outcome.TIMED_OUT] * 3
        retried = await asyncio.gather(*(executions.execution(slow) for _ in range(3)))
        assert [execution.outcome for execution, _ in retried] == [Outcome.PASSED] * 3
        assert [is_shared for _, is_shared in (*hurried, *retried)] == [False, True, True] * 2
        assert (await executions.execution(slow, 0.2))[1]  # the whole time covers a part of it

    assert shared(act).runs == {"slow": 2}


def test_a_failure_of_the_sandbox_is_not_shared() -> None:
    async def act(executions: SharedExecutions, runner: Runner) -> None:
        runner.failures = 1
        found = await asyncio.gather(*(executions.execution(PROGRAM) for _ in range(3)), return_exceptions=True)
        assert isinstance(found[0], SandboxError)
        assert not any(isinstance(one, BaseException) for one in found[1:])

    assert shared(act).runs == {PROGRAM.solution: 2}


def test_if_the_first_is_cancelled_another_one_that_waits_runs_the_program() -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        first, second = (asyncio.create_task(executions.execution(PROGRAM)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)[1] is False

    assert shared(act).runs == {PROGRAM.solution: 1}


def test_again_means_another_execution_which_later_ones_share() -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        await executions.execution(PROGRAM)
        second = await executions.execution(PROGRAM, again=True)
        assert (second[0].detail, second[1]) == ("2", False)
        assert await executions.execution(PROGRAM) == (second[0], True)

    assert shared(act).runs == {PROGRAM.solution: 2}


def test_an_execution_of_an_earlier_session_is_found() -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        earlier = Execution(Outcome.TIMED_OUT, "earlier")
        executions.recall(PROGRAM, earlier)
        assert await executions.execution(PROGRAM) == (earlier, True)

    assert not shared(act).runs


@given(st.lists(st.sampled_from("abcdef")), st.integers(1, 6))
def test_memory_is_bounded_and_the_least_recently_used_is_forgotten(texts: list[str], kept: int) -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        recent: list[str] = []
        for text in texts:
            assert (await executions.execution(Program(text)))[1] == (text in recent)
            recent = [*(one for one in recent if one != text), text][-kept:]

    shared(act, kept)


def test_only_the_program_that_runs_takes_a_turn() -> None:
    taken: list[int] = []

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        taken.append(1)
        yield

    async def act(executions: SharedExecutions, _: Runner) -> None:
        await asyncio.gather(*(executions.execution(PROGRAM, turn=turn) for _ in range(5)))
        await executions.execution(PROGRAM, turn=turn)

    assert shared(act).runs == {PROGRAM.solution: 1}
    assert taken == [1]


def test_no_client_waits_for_an_equal_program_in_the_queue_of_another() -> None:
    async def act(executions: SharedExecutions, _: Runner) -> None:
        its_turn = asyncio.Event()

        @asynccontextmanager
        async def far_back() -> AsyncIterator[None]:
            await its_turn.wait()
            yield

        slow = asyncio.ensure_future(executions.execution(PROGRAM, turn=far_back, client="a"))
        await asyncio.sleep(0)
        found = await executions.execution(PROGRAM, client="b")
        assert (found[1], slow.done()) == (False, False)
        its_turn.set()
        await slow

    assert shared(act).runs == {PROGRAM.solution: 2}
