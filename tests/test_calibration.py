"""The time limit adapts to the machine's speed, and a judge that fails the dataset's own solutions is not used."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from human_eval_runner import Judge, load_tasks
from swarmeval.errors import SandboxError
from swarmeval.sandbox.calibration import MOST, REFERENCE_CPU_S, Calibration, timeout_scale


@given(one=st.floats(0, 1e4), other=st.floats(0, 1e4))
def test_a_slower_machine_never_gets_less_time(one: float, other: float) -> None:
    low, high = sorted((timeout_scale(one), timeout_scale(other)), key=lambda scale: scale)
    assert (timeout_scale(min(one, other)), timeout_scale(max(one, other))) == (low, high)
    assert 1.0 <= low <= high <= MOST
    assert (2 * low).is_integer()


@given(times=st.floats(1.5, 40))
def test_the_limit_grows_as_the_machine_is_slow(times: float) -> None:
    assert abs(timeout_scale(times * REFERENCE_CPU_S) - times) <= 0.25


def calibrated(timeout_s: float) -> Calibration:
    async def session() -> Calibration:
        async with Judge(load_tasks(1), 2, timeout_s, 1024) as judge:
            return await judge.calibrate()

    return asyncio.run(session())


@pytest.mark.slow
def test_every_canonical_solution_passes_and_says_how_fast_the_machine_is() -> None:
    found = calibrated(10.0)
    assert found.scale == timeout_scale(found.cpu_s)
    assert 0 < found.slowest_cpu_s < found.cpu_s < 60


@pytest.mark.slow
def test_a_limit_that_no_machine_of_this_speed_can_keep_is_refused() -> None:
    with pytest.raises(SandboxError, match=r"^sandbox: eval_timeout is 0.05 s, and the canonical solution of \S+ "):
        calibrated(0.05)


@pytest.mark.slow
def test_a_judge_that_fails_a_canonical_solution_judges_nothing() -> None:
    with pytest.raises(SandboxError, match=r"^sandbox: the canonical solution of HumanEval/\d+ ended as TIMED_OUT"):
        calibrated(0.0002)
