"""Workers and judges that die, hang, start slowly or send garbage: no job is lost or done twice."""

import os
import random
import signal
from collections.abc import Callable

import pytest

from swarmeval.workers.replica_spec import Script, ScriptedFault
from tests.support.checked_run import NewRun

pytestmark = pytest.mark.slow

SEED = 17
NEXT_LIFE = "the restarted worker answers the remaining jobs; exit code 0"
AGAIN = "repeating the command finishes the run"
AT_WORK = "while generating"
SOON: dict[str, float] = {"workers.timeout_s": 3, "workers.load_timeout_s": 6}
CASES: list[tuple[str, str, Script, dict[str, float], str]] = [
    ("worker killed (SIGKILL)", AT_WORK, Script(faults=(ScriptedFault("kill", after=3),)), {}, "killed by SIGKILL"),
    ("worker hangs (SIGSTOP)", AT_WORK, Script(faults=(ScriptedFault("hang", after=3),)), SOON, "sent nothing"),
    ("worker exits", AT_WORK, Script(faults=(ScriptedFault("exit", after=3),)), {}, "exit code 7"),
    ("worker sends an invalid message", AT_WORK, Script(faults=(ScriptedFault("garbage", after=3),)), {},
     "sent an invalid message"),
    ("worker exits", "while loading, twice", Script(faults=(ScriptedFault("load_exit", lives=2),)), {},
     "died while loading"),
    ("worker hangs (SIGSTOP)", "while loading", Script(faults=(ScriptedFault("load_hang"),)), SOON, "did not load"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "settings", "words"),
    [
        pytest.param(*case[2:], marks=pytest.mark.fault(*case[:2], NEXT_LIFE), id=f"{case[0]} {case[1]}")
        for case in CASES
    ],
)
def test_a_worker_that_ends_is_replaced(
    new_run: NewRun, script: Script, settings: dict[str, float], words: str
) -> None:
    run = new_run(script=script, **settings)
    ended = run.session()
    assert ended.code == 0
    assert f"cpu:0: {words}" in ended.err or f"({words})" in ended.err or words in ended.err
    run.check()


@pytest.mark.fault(
    "out of memory",
    "in three workers, once or twice each, after random numbers of answers",
    "each job has one completion or failure; exit code 0 or 1",
)
@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_memory_that_runs_out_at_random_steps_costs_no_answer(new_run: NewRun, seed: int) -> None:
    chance = random.Random(seed)
    faults = [
        ScriptedFault("raise", chance.randrange(12), f"cpu:{number}", lives=chance.randint(1, 2)) for number in range(3)
    ]
    run = new_run(agents=3, tasks=16, script=Script(rows=2, steps=2, faults=tuple(faults)), cpu_workers=3)
    assert run.session().code in (0, 1), faults
    run.check()


@pytest.mark.fault("worker starts slowly", "both workers of a run", "the run waits for them; exit code 0")
def test_a_run_waits_for_workers_that_start_slowly(new_run: NewRun) -> None:
    run = new_run(script=Script(load_s=3.0), cpu_workers=2)
    ended = run.session()
    assert (ended.code, "died" in ended.err) == (0, False), ended
    run.check()


def _kill_all(pids: list[int], number: signal.Signals = signal.SIGKILL) -> int:
    for pid in pids:
        os.kill(pid, number)
    return len(pids)


@pytest.mark.fault("all workers killed at once", AT_WORK, "all are restarted; exit code 0")
def test_all_workers_may_die_at_once(new_run: NewRun) -> None:
    run = new_run(script=Script(rows=1, steps=2, step_s=0.1), cpu_workers=3)
    process = run.start()
    assert run.reached(process, lambda: run.journaled(2000))
    assert _kill_all(run.workers()) == 3
    ended = run.end_of(process)
    assert (ended.code, ended.err.count("killed by SIGKILL")) == (0, 3)
    run.check()


@pytest.mark.fault(
    "two workers killed once each (SIGKILL)",
    "with the same jobs in flight",
    "the jobs are retried in halves; exit code 0",
)
def test_jobs_that_two_workers_died_with_are_not_answered_one_by_one(new_run: NewRun) -> None:
    answer_s, jobs = 3.0, 96
    run = new_run(agents=8, tasks=12, script=Script(rows=96, steps=60, step_s=answer_s / 60), cpu_workers=2)

    def in_flight() -> dict[int, int]:
        """PID -> jobs in flight, for the workers that have any."""
        return {worker["pid"]: worker["in_flight"] for worker in run.status()["workers"] if worker["in_flight"]}

    process = run.start()
    assert run.reached(process, lambda: len(in_flight()) == 2)
    os.kill(min(in_flight()), signal.SIGKILL)
    assert run.reached(process, lambda: list(in_flight().values()) == [jobs])  # the other worker has them now
    os.kill(min(in_flight()), signal.SIGKILL)
    ended = run.end_of(process)
    assert (ended.code, ended.err.count("killed by SIGKILL")) == (0, 2)
    run.check()
    assert run.status()["elapsed_s"] < jobs * answer_s / 6  # 15 s in halves; 80 s one by one on both workers


@pytest.mark.fault(
    "no worker loads", "at every start", f"one line names the reason; exit code 2; after the fix, {AGAIN}"
)
def test_a_run_without_workers_stops_and_resumes_once_they_load(new_run: NewRun) -> None:
    run = new_run(
        script=Script(faults=(ScriptedFault("kill", after=5), ScriptedFault("load_exit", lives=0))), cpu_workers=2
    )
    run.write_script(Script(faults=(ScriptedFault("load_exit", lives=99),)))
    ended = run.session()
    assert ended.code == 2
    assert ended.err.splitlines()[-1].endswith(
        "worker died while loading (exit code 7)); fix this, then repeat the command to resume"
    )
    run.write_script(Script())
    run.recover()


RUNS_AGAIN = "interrupted programs are rerun; exit code 0"
JUDGES: list[tuple[str, Callable[[list[int]], list[int]]]] = [
    ("one of two", lambda pids: pids[:1]),
    ("both", lambda pids: pids),
]


@pytest.mark.parametrize(
    "struck",
    [
        pytest.param(
            choose, id=name,
            marks=pytest.mark.fault(f"judge killed ({name})", "while programs run", RUNS_AGAIN),
        )
        for name, choose in JUDGES
    ],
)  # fmt: skip
def test_a_judge_that_is_killed_is_replaced(new_run: NewRun, struck: Callable[[list[int]], list[int]]) -> None:
    run = new_run(agents=4, tasks=40)
    process = run.start()
    assert run.reached(process, lambda: run.holds("journal.jsonl", '{"verdict"'))
    assert _kill_all(struck(sorted(run.judges())))
    assert run.end_of(process).code == 0
    run.check()


@pytest.mark.fault(
    "judge stopped (SIGSTOP), then coordinator killed", "while programs run", f"no process is left; {AGAIN}"
)
def test_a_stopped_judge_does_not_outlive_its_coordinator(new_run: NewRun) -> None:
    run = new_run(agents=4, tasks=40)
    process = run.start()
    assert run.reached(process, lambda: run.holds("journal.jsonl", '{"verdict"'))
    assert _kill_all([*run.judges(), *run.jails()], signal.SIGSTOP) > 2
    process.kill()
    process.wait()
    run.recover()


@pytest.mark.fault(
    "workers and coordinator killed",
    "during 8,200 judged jobs: each of two workers three times, the coordinator once",
    f"each job is answered and judged once; {AGAIN}",
)
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_8200_jobs_survive_deaths_of_workers_and_coordinator(new_run: NewRun) -> None:
    run = new_run(
        agents=50, tasks=164, script=Script(faults=(ScriptedFault("kill", after=400, lives=3),)), cpu_workers=2
    )
    run.patience_s = 400.0
    process = run.start()
    assert run.reached(process, lambda: run.journaled(5_000_000))
    process.kill()
    process.wait()
    kept = run.journal.stat().st_size
    last = run.recover()
    assert last is not None
    assert last.err.count("killed by SIGKILL") > 2, last.err
    assert run.journal.stat().st_size > kept
