"""A full or read-only disk at each file that a run writes: one line, exit code 2, and no loss after a resume."""

import os
import re

import pytest

from swarmeval.workers.replica_spec import Script
from tests.support import small_disk
from tests.support.checked_run import Ended, NewRun, Run
from tests.support.small_disk import SmallDisk

UNFIT = small_disk.why_not()
on_a_small_disk = pytest.mark.skipif(bool(UNFIT), reason=UNFIT or "fit")
pytestmark = pytest.mark.slow

AGAIN = "repeating the command finishes the run"
FULL = f"one line names the file; exit code 2; the journal is intact; with free space, {AGAIN}"
WRITABLE = f"once the folder is writable, {AGAIN}"
NONE = "{mode: none}"  # no sandbox
RARELY = "{interval_s: 3600, idle_baseline_s: 0}"
SLOW = Script(rows=2, steps=2, step_s=0.05)
PLENTY = 4000  # pages
NAMED = re.compile(r"run/([\w.]+): ")


def told(ended: Ended) -> list[str]:
    """The files that could not be written, in the order of the errors."""
    return [re.sub(r"\d+", "N", name) for name in NAMED.findall(ended.err)]


def expect_one_line(run: Run, ended: Ended) -> None:
    """Check the end of a session on a full disk: exit code 2, one line, no temporary files."""
    assert (ended.code, ended.fault_of_ours()) == (2, False), ended
    last = ended.err.splitlines()[-1]
    assert last.startswith(f"swarmeval: {run.folder}")
    assert last.endswith("cannot be written (No space left on device); free disk space, then repeat the command")
    assert not [path.name for path in run.visible_folder.iterdir() if path.name.endswith(".tmp")]


GROWING = {"manifest.json", "journal.jsonl"}  # files of the monitors get their own disk below


@on_a_small_disk
@pytest.mark.fault(
    "disk full", f"at each of {', '.join(sorted(GROWING))}, on a disk that grows by one page per session", FULL
)
def test_a_run_gets_further_with_every_page_and_loses_nothing(new_run: NewRun) -> None:
    run = new_run(tasks=6, sandbox=NONE, monitor=RARELY)  # a journal larger than any temporary file
    found: set[str] = set()
    with SmallDisk(run, pages=1) as disk:
        for pages in range(1, 60):
            disk.resize(pages)
            kept = run.journal.read_bytes() if run.journal.exists() else b""
            ended = run.session()
            found |= set(told(ended))
            if ended.code == 0:
                break
            expect_one_line(run, ended)
            assert run.journal.read_bytes().startswith(kept) if kept else True
        disk.resize(PLENTY)
        run.recover(without_report=True)
    assert found >= GROWING, found


EACH = {
    "metrics.csv", "agent_N_results.jsonl", "agent_N_evaluation.json", "agent_summary.json", "task_summary.json",
    "score.json", "status.json", "manifest.json", "report.html",
}  # fmt: skip


@on_a_small_disk
@pytest.mark.fault("disk full", f"at each of {', '.join(sorted(EACH))}, after all jobs are judged", FULL)
def test_any_result_file_may_be_the_one_that_does_not_fit(new_run: NewRun) -> None:
    run = new_run(tasks=24, sandbox=NONE, monitor=RARELY)
    found: set[str] = set()
    with SmallDisk(run, pages=PLENTY) as disk:
        assert run.session().code == 0
        kept = {name: (run.visible_folder / name).read_bytes() for name in ("manifest.json", "journal.jsonl")}
        kept["manifest.json"] = kept["manifest.json"].replace(b'"finished": true', b'"finished": false')
        for free in range(200):
            disk.resize(PLENTY)
            for path in run.visible_folder.iterdir():
                path.unlink()
            for name, content in kept.items():
                (run.visible_folder / name).write_bytes(content)
            disk.resize(disk.used + free)
            ended = run.session()
            found |= set(told(ended))
            assert run.journal.read_bytes() == kept["journal.jsonl"]
            if ended.code == 0:
                break
            expect_one_line(run, ended)
        disk.resize(PLENTY)
        run.recover(without_report=True)
    assert found >= EACH, found


@on_a_small_disk
@pytest.mark.fault("disk full", "filled by another process while a traced run generates replies; freed later", FULL)
def test_a_run_resumes_after_others_fill_and_free_the_disk(new_run: NewRun) -> None:
    run = new_run(script=SLOW, sandbox=NONE, trace="true")
    with SmallDisk(run, pages=100) as disk:
        process = run.start()
        assert run.reached(process, lambda: run.journaled(3000))
        ballast = disk.fill()
        ended = run.end_of(process)
        expect_one_line(run, ended)
        assert {"trace.json", "flame_coordinator.html"} <= set(told(ended)), ended
        ballast.unlink()
        disk.resize(PLENTY)
        run.recover()


WATCHED = ("events.jsonl", "resource_trace.csv", "gpu_trace.csv", "trace_coordinator.jsonl", "run.log")


@on_a_small_disk
@pytest.mark.fault(
    "disk full", f"at files that only monitor: {', '.join(WATCHED)}, each on its own full disk",
    "warnings name the files except run.log; all others are written; exit code 0",
)  # fmt: skip
def test_a_run_finishes_without_space_for_its_monitoring_files(new_run: NewRun) -> None:
    run = new_run(script=SLOW, sandbox=NONE, trace="true")
    with SmallDisk(run, pages=PLENTY) as disk:
        process = run.start()
        assert run.reached(process, lambda: run.journaled(3000))
        process.kill()
        process.wait()
        for name in WATCHED:
            disk.fill_only(name)
        ended = run.session()
        assert (ended.code, ended.fault_of_ours()) == (0, False), ended
        assert set(told(ended)) == set(WATCHED) - {"run.log"}, ended
        run.check()


@on_a_small_disk
@pytest.mark.fault(
    "disk full",
    "at the flame graphs and the report",
    "warnings name the files; all others are written; exit code 0",
)
def test_a_run_finishes_without_the_pages_that_do_not_fit(new_run: NewRun) -> None:
    run = new_run(tasks=2, sandbox=NONE, trace="true")
    with SmallDisk(run, pages=30) as disk:
        ended = run.session()
        assert (ended.code, ended.fault_of_ours()) == (0, False), ended
        assert set(told(ended)) == {"flame_coordinator.html", "report.html"}, ended
        assert run.holds("run.log", "flame_cpu_0.html: cannot be written (No space left on device)")
        disk.resize(PLENTY)
        run.recover(without_report=True)


@on_a_small_disk
@pytest.mark.fault(
    "read-only folder",
    "from the start",
    f"one line; exit code 2; nothing is written; {WRITABLE}",
)
def test_a_folder_that_is_read_only_is_refused(new_run: NewRun) -> None:
    run = new_run(sandbox=NONE)
    with SmallDisk(run, pages=PLENTY) as disk:
        disk.remount("ro")
        ended = run.session()
        assert (ended.code, ended.err) == (
            2,
            f"swarmeval: {run.folder}: cannot be written (Read-only file system); "
            "fix this or choose another --output_dir\n",
        )
        disk.remount("rw")
        run.recover()


@pytest.mark.fault("read-only folder", "while replies are generated", f"one line; exit code 2; {WRITABLE}")
def test_a_folder_that_becomes_read_only_ends_the_run_which_resumes(new_run: NewRun) -> None:
    run = new_run(script=Script(rows=1, steps=10, step_s=0.05), sandbox=NONE)
    if os.geteuid() == 0:  # file modes do not restrict root
        if UNFIT:
            pytest.skip(UNFIT)
        run.prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    process = run.start()
    assert run.reached(process, lambda: run.journaled(3000))
    run.folder.chmod(0o555)
    ended = run.end_of(process)
    run.folder.chmod(0o755)
    assert (ended.code, ended.fault_of_ours()) == (2, False), ended
    assert ended.err.splitlines()[-1].endswith(
        "cannot be written (Permission denied); fix this or choose another --output_dir"
    )
    run.write_script(Script())
    run.recover()
