"""Claims about the dashboard's page and command line: how it shows a run's files and the errors in them."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metrics_dashboard import main
from swarmeval.dashboard.view import rate
from swarmeval.records import Status, WorkerStatus
from swarmeval.watch import status as status_file
from tests.support.checkout import ROOT
from tests.support.made_up_run import NUMBERS, RUN_ID, ended_pid, write_manifest, write_run, write_status, write_traces
from tests.support.terminal import Terminal


def printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The page that --once prints."""
    assert main(["--run", str(folder), "--once"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


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
        "No workers yet",
        "No samples yet",
        "pass@1 –",
        "outcomes  none yet",
        "0/0 jobs (0.0%)",
        "No answers yet",
    ):
        assert part in text


def test_computed_tokens_are_shown_beside_delivered_ones_if_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    assert "computed" not in printed(tmp_path, capsys)
    status = status_file.read(tmp_path)
    assert status is not None
    status_file.write(tmp_path, replace(status, computed_tokens_per_s=188.4, computed_tokens=17_000))
    assert re.search(r"812 tokens/s .*188 computed/s", " ".join(printed(tmp_path, capsys).split()))


def test_running_killed_and_ended_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pid = ended_pid()
    line = f"Coordinator not running (PID {pid}). Repeat the command to resume."
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


def test_a_restarted_run_is_not_shown_as_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ended_pid())
    write_manifest(tmp_path, pid=os.getpid())  # of a session that has not written its status yet
    text = printed(tmp_path, capsys)
    assert f"{RUN_ID}  starting" in text
    assert f"coordinator PID {os.getpid()}" in text


def test_the_score_is_shown_once_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, phase="done")
    score = {"pass@1": 0.06123456, "pass@100": None, "partial": False, "intervals": {"pass@1": [0.031, 0.094]}}
    (tmp_path / "score.json").write_text(json.dumps(score))
    text = printed(tmp_path, capsys)
    assert "score  pass@1 0.06123  pass@100 –  partial False" in text
    assert "pass@1 6.2 % (95 % CI 3.1-9.4 %)" in text
    write_status(tmp_path)  # the run continues, so the last session's score is outdated
    assert "score  pass@1" not in printed(tmp_path, capsys)


def test_broken_files_are_named_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    write_run(tmp_path)
    (tmp_path / "score.json").write_text("{")
    (tmp_path / "manifest.json").write_text("[]")
    for name in ("gpu_trace.csv", "journal.jsonl"):
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    text = printed(tmp_path, capsys)
    for fault in (
        "manifest.json: not a valid manifest (Expected `object`, got `array`); move the file away",
        "score.json: cannot be read (Input data was truncated)",
        "gpu_trace.csv: cannot be read (Is a directory)",
        "journal.jsonl: cannot be read (Is a directory)",
    ):
        assert fault in text
    assert "CPU 43 %" in text


def test_counts_gained_between_sessions_are_not_a_rate() -> None:
    def row(clock: str, elapsed_s: str, read_mb: str) -> dict[str, str]:
        return {"time": f"2026-11-21T{clock}+01:00", "elapsed_s": elapsed_s, "disk_read_mb": read_mb}

    rows = (row("10:00:00.000", "7", "100"), row("10:00:02.100", "9", "104"))
    assert rate(rows, "disk_read_mb") == 2.0
    assert rate((*rows, row("12:00:00.000", "10", "90104")), "disk_read_mb") is None


@pytest.mark.parametrize("figure", ["nan", "1e999", "x"])
def test_impossible_figures_are_shown_as_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], figure: str
) -> None:
    write_run(tmp_path, phase="done")
    status = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps({**status, "updated_at": 1e300}))
    trace = tmp_path / "resource_trace.csv"
    trace.write_text(trace.read_text().replace("43.2", figure))
    text = printed(tmp_path, capsys)
    assert "CPU – %" in text
    assert "ended at –" in text


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--once"]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: contains no run; start one, or give its folder with --run\n"


def test_a_broken_status_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_text("{")
    assert main(["--run", str(tmp_path), "--once"]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'status.json'}: not a valid status (")


def test_without_a_terminal_it_asks_for_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert main(["--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "the dashboard needs a terminal; use --once to print one plain page\n"


@pytest.mark.slow
def test_a_dumb_terminal_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    with Terminal("metrics_dashboard.py", "--run", str(tmp_path), env={"TERM": "dumb"}) as terminal:
        terminal.read_until("the dashboard needs a terminal; use --once to print one plain page")
        assert terminal.close() == 2


@pytest.mark.slow
def test_a_page_that_cannot_be_printed_is_told_in_one_line(tmp_path: Path) -> None:
    write_run(tmp_path)
    command = [sys.executable, "metrics_dashboard.py", "--once", "--run", str(tmp_path)]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stderr) == (2, b"the page cannot be printed (No space left on device)\n")


@pytest.mark.parametrize("word", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_bad_interval_is_refused_in_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([f"--interval={word}"])
    assert refused.value.code == 2
    problem = f"argument --interval: {word!r} is not a number of seconds from 0.1 to 3600"
    assert capsys.readouterr().err == f"metrics_dashboard.py: {problem}\n"


@pytest.mark.slow
@pytest.mark.parametrize(("leave", "code"), [("q", 0), ("Ctrl-C", 0), ("SIGINT", 0), ("SIGTERM", 143)])
def test_it_follows_a_run_and_gives_the_terminal_back(tmp_path: Path, leave: str, code: int) -> None:
    write_run(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with Terminal("metrics_dashboard.py", "--run", str(tmp_path), "--interval", "0.1") as terminal:
        terminal.read_until("412/8200")
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before  # read only
        write_status(tmp_path, phase="draining")
        terminal.read_until("draining")
        if leave.startswith("SIG"):
            terminal.process.send_signal(2 if leave == "SIGINT" else 15)
        else:
            terminal.send("q" if leave == "q" else "\x03")
        terminal.read_until("\x1b[?1049l")  # leaves the alternate screen
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
        assert all(len(set(colour)) == 1 for colour in coloured)  # only greys


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


def test_of_a_server_no_use_and_memory_of_this_machine_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    status = status_file.read(tmp_path)
    assert status is not None
    server = WorkerStatus("endpoint:0", "ready", in_flight=9, rows_in_use=7)
    status_file.write(tmp_path, replace(status, workers=(server,)))
    row = next(line for line in printed(tmp_path, capsys).splitlines() if "endpoint:0" in line)
    assert re.search(r"endpoint:0 ready +– +– +– +– +7 ", row), row
