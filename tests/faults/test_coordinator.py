"""A coordinator that is killed, interrupted, or loses its terminal or parent. Repeating the command resumes the run."""

import contextlib
import os
import pty
import random
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from swarmeval.workers.replica_spec import Script
from tests.support.checked_run import NewRun, Run
from tests.support.checkout import ROOT

pytestmark = pytest.mark.slow

SEED = 50
AGAIN = "repeating the command finishes the run"
KILLS = 50
SLOW = Script(rows=2, steps=2, step_s=0.05)


def whole_lines(journal: Path) -> bytes:
    text = journal.read_bytes() if journal.exists() else b""
    return text[: text.rfind(b"\n") + 1]


@pytest.mark.fault(
    "coordinator killed (SIGKILL)", "at 50 random points, in consecutive sessions",
    f"no journaled record is lost or repeated; no process is left; {AGAIN}",
)  # fmt: skip
@pytest.mark.timeout(900)  # fifty sessions of about two seconds on an idle machine
def test_a_run_killed_at_fifty_random_points_loses_nothing(new_run: NewRun) -> None:
    chance = random.Random(SEED)
    shape = {"agents": 8, "tasks": 24, "script": Script(rows=4, steps=2, step_s=0.01), "cpu_workers": 2}
    run = new_run(**shape)
    kills = 0
    while kills < KILLS:
        kept = whole_lines(run.journal)
        by_time, share = chance.random() < 0.5, chance.random()
        process = run.start()
        if by_time:  # to hit the parts of a session other than generation
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0 * share)
        else:
            run.reached(process, partial(run.journaled, len(kept) + int(30_000 * share)))
        ended = process.poll() is not None
        process.kill()
        process.wait()
        assert run.processes_end(), f"seed {SEED}, kill {kills}, {by_time=}, {share=}"
        assert whole_lines(run.journal).startswith(kept), f"seed {SEED}, kill {kills}, {by_time=}, {share=}"
        kills += not ended
        if run.manifest().get("finished"):
            run.recover(without_report=True)
            run = new_run(**shape)
    run.recover()


JUDGING: dict[str, object] = {"agents": 4, "tasks": 164, "eval_workers": 1}
PHASES: list[tuple[str, dict[str, object], Callable[[Run], bool]]] = [
    ("the run folder is opened", {}, lambda run: (run.folder / ".lock").exists()),
    ("the judge starts", {}, lambda run: bool(run.judges())),
    ("the judge is calibrated", {"eval_timeout_scale": "auto"}, lambda run: run.holds("manifest.json", '"sandbox"')),
    ("a worker loads", {"script": Script(load_s=60)}, lambda run: run.holds("status.json", '"loading"')),
    ("a worker process starts", {"script": Script(load_s=60)}, lambda run: bool(run.workers())),
    ("replies are generated", {"script": SLOW}, lambda run: run.journaled(3000)),
    ("programs are judged", JUDGING, lambda run: run.holds("status.json", '"judging"')),
    ("the audit repeats jobs", {"script": SLOW, "audit.jobs": 12}, lambda run: run.holds("audit.jsonl", "completion")),
    ("results are written", {"agents": 20}, lambda run: (run.folder / "metrics.csv").exists()),
    ("the report is made", {}, lambda run: (run.folder / "score.json").exists() and run.holds("status.json", '"done"')),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "point"),
    [
        pytest.param(
            *case[1:], id=case[0],
            marks=pytest.mark.fault("Ctrl-C (SIGINT)", f"while {case[0]}", f"exit code 130; {AGAIN}"),
        )
        for case in PHASES
    ],
)  # fmt: skip
def test_ctrl_c_ends_every_phase_and_the_run_resumes(
    new_run: NewRun, settings: dict[str, object], point: Callable[[Run], bool]
) -> None:
    run = new_run(**settings)
    process = run.start()
    assert run.reached(process, lambda: point(run))
    process.send_signal(signal.SIGINT)
    ended = run.end_of(process)
    finished = run.manifest().get("finished", False)
    assert ended.code == (0 if finished else 130), ended
    assert not ended.fault_of_ours(), ended.err
    run.write_script(Script())
    run.recover(without_report=finished)


@pytest.mark.fault(
    "Ctrl-C, pressed seven times",
    "while replies are generated",
    "the run stops at once with exit code 130; no process is left",
)
def test_an_impatient_user_leaves_no_process_behind(new_run: NewRun) -> None:
    run = new_run(script=Script(rows=2, steps=1000, step_s=0.05))
    process = run.start()
    assert run.reached(process, lambda: run.holds("status.json", '"generating"'))
    for _ in range(7):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.03)
        process.send_signal(signal.SIGINT)
    ended = run.end_of(process)
    assert not ended.fault_of_ours(), ended.err
    assert ended.code in (130, -signal.SIGINT), ended
    run.write_script(Script())
    run.recover()


@pytest.mark.parametrize(
    ("settings", "point"),
    [
        pytest.param(
            *case[1:], id=case[0],
            marks=pytest.mark.fault("SIGTERM", f"while {case[0]}", f"exit code 130; {AGAIN}"),
        )
        for case in PHASES if case[0] in ("the judge starts", "a worker process starts", "replies are generated")
    ],
)  # fmt: skip
def test_sigterm_interrupts_a_run_which_resumes(
    new_run: NewRun, settings: dict[str, object], point: Callable[[Run], bool]
) -> None:
    run = new_run(**settings)
    process = run.start()
    assert run.reached(process, lambda: point(run))
    process.terminate()
    ended = run.end_of(process)
    assert (ended.code, ended.fault_of_ours()) == (130, False), ended
    run.write_script(Script())
    run.recover()


@pytest.mark.fault(
    "terminal closed (SIGHUP)",
    "while replies are generated",
    f"exit code 130; results are written; {AGAIN}",
)
def test_a_terminal_that_is_closed_stops_the_run_which_resumes(new_run: NewRun) -> None:
    run = new_run(script=SLOW)
    master, inside = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *run.words], cwd=ROOT, env={**run.environment, "TERM": "xterm"},
        stdin=inside, stdout=inside, stderr=inside,
    ) as process:  # fmt: skip
        os.close(inside)
        assert run.reached(process, lambda: run.journaled(3000))
        os.close(master)
        assert process.wait(60) == 130
    assert run.holds("score.json", '"partial": true')
    run.recover()


@pytest.mark.fault("stdin closed by the parent", "while replies are generated", "the run is not affected; exit code 0")
def test_a_run_does_not_need_its_stdin(new_run: NewRun) -> None:
    run = new_run(script=SLOW)
    process = run.start(stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert run.reached(process, lambda: run.journaled(3000))
    process.stdin.close()
    assert run.end_of(process).code == 0
    run.check()


@pytest.mark.fault(
    "two coordinators on one folder",
    "while the first generates replies",
    "the second, with or without --fresh, is refused with one line and changes nothing",
)
def test_a_second_coordinator_is_refused_and_the_first_goes_on(new_run: NewRun) -> None:
    run = new_run(script=SLOW)
    process = run.start()
    assert run.reached(process, lambda: run.journaled(3000))
    (worker,) = run.workers()
    os.kill(worker, signal.SIGSTOP)  # otherwise it could finish before the second starts
    for more in ([], ["--fresh"]):
        second = subprocess.run([*run.words, *more], cwd=ROOT, env=run.environment, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr == (
            f"swarmeval: {run.folder}: in use by another run (PID {process.pid}); "
            "wait for it or choose another --output_dir\n"
        )
    os.kill(worker, signal.SIGCONT)
    assert run.end_of(process).code == 0
    run.check()
    assert len(run.manifest()["sessions"]) == 1


@pytest.mark.fault("two coordinators on one folder", "started at the same time", "one runs; the other is refused")
def test_if_two_coordinators_start_together_one_is_refused(new_run: NewRun) -> None:
    run = new_run(script=Script(load_s=600))
    pair = [run.start(), run.start()]
    run.reached(pair[0], lambda: pair[1].poll() is not None)  # or until the first ends
    refused, other = sorted(pair, key=lambda process: process.poll() is None)
    assert refused.returncode == 2
    other.terminate()
    assert other.wait(60) == 130
    run.write_script(Script())
    run.recover()


@pytest.mark.fault(
    "journal cut",
    "at a random byte of the last record, in three consecutive sessions",
    "complete records are kept; only lost work is repeated",
)
def test_a_torn_journal_is_repaired_by_the_next_session(new_run: NewRun) -> None:
    chance = random.Random(SEED)
    run = new_run()
    assert run.session().code == 0
    manifest = run.folder / "manifest.json"
    for _ in range(3):
        manifest.write_text(manifest.read_text().replace('"finished": true', '"finished": false'))
        kept = whole_lines(run.journal)
        last = kept.rfind(b"\n", 0, -1) + 1
        cut = chance.randrange(last, len(kept))
        os.truncate(run.journal, cut)
        assert run.session().code == 0, f"seed {SEED}, cut at {cut}"
        assert run.journal.read_bytes().startswith(kept[:last])
        run.check()


@pytest.mark.fault(
    "coordinator killed (SIGKILL)",
    "while a finished run is archived",
    "the next start completes the move; both runs are intact",
)
def test_an_archive_that_was_interrupted_is_completed(new_run: NewRun) -> None:
    run = new_run(agents=30, tasks=2)
    assert run.session().code == 0
    first = run.manifest()["run_id"]
    process = run.start()
    run.reached(process, lambda: (run.folder / "archive").exists())
    process.kill()
    process.wait()
    if run.manifest().get("run_id") in (first, None):  # the new run has not started
        assert run.session().code == 0
    run.recover(archives=1)
    archived = run.folder / "archive" / first
    assert len(list(archived.glob("agent_*_results.jsonl"))) == 30
    assert (archived / "manifest.json").exists()
