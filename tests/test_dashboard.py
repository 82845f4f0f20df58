"""Claims about the dashboard: it shows a folder made by the real writers, and what is wrong with one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from bench.journal import NAME
from bench.records import Outcome, Status
from dashboard.app import Dashboard
from metrics_dashboard import main
from tests.dashboards import HARMLESS, HOSTILE, SIZES, looked, on_screen, words
from tests.made_up_run import (
    RUN_ID,
    completion,
    verdict,
    write_journal,
    write_manifest,
    write_run,
    write_status,
    write_traces,
)
from tests.screens import Terminal
from watch import status as status_file

ROOT = Path(__file__).resolve().parent.parent


def printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The page of --once."""
    assert main(["--run", str(folder), "--once"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


NUMBERS = (
    f"{RUN_ID} generating PID {os.getpid()}",
    "412/8200 jobs (5.0%) eta 00:28:13",
    "4.6 jobs/s",
    "812 tokens/s",
    "elapsed 00:01:30",
    "latency p50 2.00 s p95 2.00 s p99 2.00 s",
    "TTFT p50 500 ms p95 500 ms",
    "pass@1 6.2 % (",
    "25 of 400 judged passed 1 failure",
    "P PASSED 25 w WRONG_ANSWER 375",
    "CPU 43 %",
    "load 1.25",
    "2.0/24.0 GB swap 0.5/2.0 GB",
    "76.0 GB free read 1.5 MB/s write 5.0 MB/s",
    f"coordinator PID {os.getpid()} 3 % 44 MB 7 threads Python processes 9",
    "switches 112 voluntary (6/s), 7 involuntary (0/s)",
    "workers 150 % 1,240 MB",
    "cuda:0 ready 97 % ",
    "39.2/79.6",
    "64° ok 312 W 8",
    "cuda:1 restarting",
    "88° hot",
    "WARNING swarmeval: a line of the log",
)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_every_panel_shows_the_numbers_of_the_files(tmp_path: Path, size: tuple[int, int]) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        shown = words(app)
        for number in NUMBERS:
            assert number in shown
        for row in ("agent 0 P n · ·", "agent 1 w 5 · ·", "agent 2 ~ · · ·"):
            assert row in shown
        assert "tasks x agents agent 0 x HumanEval/0: PASSED" in shown

    (tmp_path / NAME).unlink()
    more = [completion("1/HumanEval/1/1/0"), verdict("1/HumanEval/1/1/0", Outcome.PASSED)]
    write_journal(tmp_path, *more)
    on_screen(tmp_path, act, size)


def test_once_prints_one_plain_page_of_all_panels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    text = printed(tmp_path, capsys)
    assert "\x1b" not in text
    shown = " ".join(text.split())
    for number in NUMBERS:
        assert number in shown
    for title in ("run", "application", "replicas", "tasks x agents", "system", "processes", "log"):
        assert f"─ {title} ─" in text


def test_a_run_that_has_only_begun_says_what_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status_file.write(tmp_path, Status("r", os.getpid(), "loading", 0.0, 0))
    text = printed(tmp_path, capsys)
    for part in (
        "no workers yet",
        "no sample yet",
        "pass@1 –",
        "outcomes  none yet",
        "0/0 jobs (0.0%)",
        "no answer yet",
    ):
        assert part in text


def ended_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    return ended.pid


def test_running_killed_and_ended_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pid = ended_pid()
    line = f"coordinator not running (PID {pid}), started again by the same command"
    write_run(tmp_path, pid)
    killed = printed(tmp_path, capsys)
    assert line in killed
    assert f"{RUN_ID}   killed   PID {pid}" in killed
    for phase, word in (("done", "done"), ("interrupted", "interrupted"), ("failed", "failed")):
        write_status(tmp_path, pid, phase, "why it ended")
        text = printed(tmp_path, capsys)
        assert f"{word}" in text.splitlines()[1]
        assert "ended at" in text.splitlines()[1]
        assert "why it ended" in text
        assert "not running" not in text
    write_status(tmp_path)
    assert f"{RUN_ID}  generating  PID {os.getpid()}" in printed(tmp_path, capsys)


def test_a_run_started_again_is_no_killed_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ended_pid())
    write_manifest(tmp_path, pid=os.getpid())  # of the session that has not spoken yet
    text = printed(tmp_path, capsys)
    assert f"{RUN_ID}  starting" in text
    assert f"coordinator PID {os.getpid()}" in text


@pytest.mark.slow
def test_the_screen_waits_for_a_run_that_has_not_begun(tmp_path: Path) -> None:
    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        shown = words(app)
        assert "no run yet" in shown
        assert "holds no run yet; it is shown as soon as one begins" in shown
        write_run(tmp_path)
        await looked(app, pilot)
        assert "412/8200 jobs" in words(app)
        write_status(tmp_path, ended_pid())
        write_manifest(tmp_path, pid=ended_pid())
        await looked(app, pilot)
        assert " killed " in words(app)

    on_screen(tmp_path, act)


def test_the_score_is_shown_once_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, phase="done")
    score = {"pass@1": 0.06123456, "pass@100": None, "partial": False, "intervals": {"pass@1": [0.031, 0.094]}}
    (tmp_path / "score.json").write_text(json.dumps(score))
    text = printed(tmp_path, capsys)
    assert "score  pass@1 0.06123  pass@100 –  partial False" in text
    assert "pass@1 6.2 % (3.1 to 9.4 %)" in text


def test_broken_files_are_named_and_the_rest_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    (tmp_path / "score.json").write_text("{")
    (tmp_path / "manifest.json").write_text("[]")
    (tmp_path / "gpu_trace.csv").unlink()
    (tmp_path / "gpu_trace.csv").mkdir()
    text = printed(tmp_path, capsys).replace("\n", "")
    for name in ("score.json", "manifest.json", "gpu_trace.csv"):
        assert name[:4] in text
    assert "CPU 43 %" in text


@pytest.mark.slow
def test_a_hostile_run_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, message=HOSTILE)
    write_journal(
        tmp_path, completion(f"3/{HOSTILE}/0/0"), verdict("3/HumanEval/2/0/0", Outcome.PASSED, HOSTILE, HOSTILE)
    )
    (tmp_path / "run.log").write_text(f"{HOSTILE}\n")
    text = printed(tmp_path, capsys)
    assert text.count(HARMLESS) >= 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("end", "down", "down", "down")
        await pilot.pause()
        shown = words(app)
        assert shown.count(HARMLESS) >= 2
        assert "\x1b" not in shown

    on_screen(tmp_path, act)


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--once"]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: holds no run; start one, or name its folder with --run\n"


def test_a_broken_status_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_text("{")
    assert main(["--run", str(tmp_path), "--once"]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'status.json'}: is not a run's status (")


def test_without_a_terminal_it_asks_for_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert main(["--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "the dashboard needs a terminal; add --once for one plain page\n"


@pytest.mark.parametrize("word", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_bad_interval_is_refused_in_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([f"--interval={word}"])
    assert refused.value.code == 2
    problem = f"argument --interval: {word!r} is no number of seconds from 0.1 to 3600"
    assert capsys.readouterr().err == f"metrics_dashboard.py: {problem}\n"


@pytest.mark.slow
@pytest.mark.parametrize(("leave", "code"), [("q", 0), ("Ctrl-C", 0), ("SIGINT", 0), ("SIGTERM", 143)])
def test_it_follows_a_run_and_gives_the_terminal_back(tmp_path: Path, leave: str, code: int) -> None:
    write_run(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with Terminal("metrics_dashboard.py", "--run", str(tmp_path), "--interval", "0.1") as terminal:
        terminal.read_until("412/8200")
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before  # only looked at
        write_status(tmp_path, phase="draining")
        terminal.read_until("draining")
        if leave.startswith("SIG"):
            terminal.process.send_signal(2 if leave == "SIGINT" else 15)
        else:
            terminal.send("q" if leave == "q" else "\x03")
        terminal.read_until("\x1b[?1049l")  # back from the alternate screen
        assert terminal.close() == code


@pytest.mark.slow
def test_it_works_without_colour(tmp_path: Path) -> None:
    write_run(tmp_path)
    command = ["metrics_dashboard.py", "--run", str(tmp_path), "--interval", "0.1"]
    with Terminal(*command, env={"NO_COLOR": "1"}) as terminal:
        terminal.read_until("412/8200")
        terminal.read_until("agent 0")
        terminal.send("q")
        assert terminal.close() == 0
        coloured = re.findall(r"\x1b\[(?:[\d;]*;)?[34]8;2;(\d+);(\d+);(\d+)", terminal.text)
        assert all(len(set(colour)) == 1 for colour in coloured)  # greys


@pytest.mark.slow
def test_it_loads_neither_torch_nor_the_samplers(tmp_path: Path) -> None:
    write_run(tmp_path)
    code = (
        "import sys, metrics_dashboard\n"
        f"metrics_dashboard.main(['--run', {str(tmp_path)!r}, '--once'])\n"
        "print([n for n in ('torch', 'psutil', 'pynvml', 'wandb', 'textual') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_traces_of_an_older_version_are_shown_as_far_as_they_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_status(tmp_path)
    write_traces(tmp_path)
    (tmp_path / "resource_trace.csv").write_text("time,elapsed_s,cpu_pct\nt0,1,50\n")
    text = printed(tmp_path, capsys)
    assert "CPU 50 %" in text
    assert "read –  write –" in text
