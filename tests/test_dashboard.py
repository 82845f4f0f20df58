"""Claims about the dashboard: it shows a folder made by the real writers, and what is wrong with one."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench.records import Status, WorkerStatus
from metrics_dashboard import frame, main
from resource_monitor import GPU_COLUMNS, RESOURCE_COLUMNS
from watch import status as status_file
from watch.csv_trace import CsvTrace
from watch.snapshot import read

ROOT = Path(__file__).resolve().parent.parent
HOST = {
    "cpu_pct": 43.2,
    "load1": 1.25,
    "ram_used_mb": 2048.0,
    "ram_total_mb": 24106.0,
    "coordinator_ctx_voluntary": 112,
    "coordinator_ctx_involuntary": 7,
}


def write_run(folder: Path, pid: int | None = None, phase: str = "generating", message: str = "") -> None:
    """A run as the coordinator and the monitor leave it in its folder."""
    status = Status(
        run_id="20261121-225112",
        pid=os.getpid() if pid is None else pid,
        phase=phase,
        updated_at=time.time(),
        total_jobs=8200,
        done_jobs=412,
        failures=1,
        judged=400,
        passed=25,
        elapsed_s=90.0,
        jobs_per_s=4.6,
        tokens_per_s=812.0,
        eta_s=1693.0,
        pass_at_1=0.0625,
        outcomes={"PASSED": 25, "WRONG_ANSWER": 375},
        workers=(WorkerStatus("cuda:0", "ready", 4242, 16, 8, 200), WorkerStatus("cuda:1", "restarting", restarts=2)),
        message=message,
    )
    status_file.write(folder, status)
    trace = CsvTrace(folder / "resource_trace.csv", RESOURCE_COLUMNS)
    trace.append({"time": "t0", "elapsed_s": 1.0, "coordinator_ctx_voluntary": 100, "coordinator_ctx_involuntary": 7})
    trace.append({"time": "t1", "elapsed_s": 3.0, **HOST})
    trace.close()


def write_gpus(folder: Path, name: str) -> None:
    trace = CsvTrace(folder / "gpu_trace.csv", GPU_COLUMNS)
    for sample in ("t0", "t1"):
        for index in range(2):
            figures = {"utilization_pct": 97.0, "memory_used_mb": 40123.5, "memory_total_mb": 81559.0, "power_w": None}
            trace.append({"time": sample, "index": index, "uuid": f"GPU-{index}", "name": name, **figures})
    trace.close()


def shown(folder: Path, width: int = 80) -> str:
    """The frame as plain text."""
    console = Console(width=width, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(frame(read(folder), width))
    return captured.get()


@pytest.mark.parametrize("width", [80, 140])
def test_a_frame_shows_run_workers_system_and_gpus(tmp_path: Path, width: int) -> None:
    write_run(tmp_path)
    write_gpus(tmp_path, "H100")
    words = " ".join(shown(tmp_path, width).replace("│", " ").split())
    for part in (
        "20261121-225112 generating PID",
        "412/8200 jobs (5.0%)",
        "4.6 jobs/s 812 tokens/s elapsed 00:01:30 eta 00:28:13",
        "pass@1 6.2% 25 of 400 judged passed 1 failure",
        "outcomes PASSED 25 WRONG_ANSWER 375",
        "cuda:1 restarting – 0 0 0 2",
        "CPU 43 % load 1.25 RAM 2,048 of 24,106 MB",
        "voluntary 112 (6/s) involuntary 7 (0/s)",
        "0 H100 97 40,124 81,559 – –",
        "1 H100 97 40,124 81,559 – –",
    ):
        assert part in words
    assert words.count("H100") == 2  # the last sample only


def test_a_run_with_four_gpus_fits_a_terminal_of_24_lines(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_gpus(tmp_path, "H100")
    assert len(shown(tmp_path).splitlines()) + 2 * 2 <= 24  # two more workers and GPUs


def test_a_run_that_has_only_begun_says_what_is_not_there_yet(tmp_path: Path) -> None:
    status_file.write(tmp_path, Status("r", os.getpid(), "loading", time.time(), 0))
    text = shown(tmp_path)
    for part in ("no workers yet", "no sample yet", "no GPU", "pass@1 –", "outcomes  none yet", "0/0 jobs (0.0%)"):
        assert part in text


def test_a_coordinator_that_died_is_told_with_the_remedy(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    line = f"coordinator not running (PID {ended.pid}), started again by the same command"
    write_run(tmp_path, ended.pid)
    assert line in shown(tmp_path)
    write_run(tmp_path, ended.pid, phase="done")
    assert "not running" not in shown(tmp_path)


def test_the_score_is_shown_once_it_is_there(tmp_path: Path) -> None:
    write_run(tmp_path, phase="done")
    (tmp_path / "score.json").write_text('{"pass@1": 0.06123456, "pass@100": null, "partial": false, "more": {}}')
    assert "score  pass@1 0.06123  pass@100 –  partial False" in shown(tmp_path)


def test_broken_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "score.json").write_text("{")
    (tmp_path / "gpu_trace.csv").mkdir()
    text = shown(tmp_path, 300)
    assert "score.json: cannot be read (Input data was truncated)" in text
    assert "gpu_trace.csv: cannot be read (Is a directory)" in text
    assert "CPU 43 %" in text


def test_text_from_files_is_neither_markup_nor_terminal_codes(tmp_path: Path) -> None:
    write_run(tmp_path, message="[red]a[/red] \x1b[2Jb\nc [/]")
    write_gpus(tmp_path, "[bold]H[/] \x1b[31m")
    text = shown(tmp_path, 140)
    assert "[red]a[/red] �[2Jb�c [/]" in text
    assert "[bold]H[/] �[31m" in text
    assert "\x1b" not in text


def test_once_prints_one_plain_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert main(["--run", str(tmp_path), "--once"]) == 0
    printed = capsys.readouterr()
    assert "412/8200 jobs (5.0%)" in printed.out
    assert "\x1b" not in printed.out
    assert printed.err == ""


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: holds no run; start one, or name its folder with --run\n"


def test_a_broken_status_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_text("{")
    assert main(["--run", str(tmp_path), "--once"]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'status.json'}: is not a run's status (")


def test_without_a_terminal_it_asks_for_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert main(["--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "the dashboard needs a terminal; add --once for one plain frame\n"


@pytest.mark.parametrize("word", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_bad_interval_is_refused_in_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([f"--interval={word}"])
    assert refused.value.code == 2
    problem = f"argument --interval: {word!r} is no number of seconds from 0.1 to 3600"
    assert capsys.readouterr().err == f"metrics_dashboard.py: {problem}\n"


class Screen:
    """The dashboard in a pseudo-terminal of 80x24."""

    def __init__(self, folder: Path) -> None:
        self.fd, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.modes = termios.tcgetattr(inside)
        self.inside = inside
        command = [sys.executable, "metrics_dashboard.py", "--run", str(folder), "--interval", "0.1"]
        environ = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=inside, stdout=inside, stderr=inside, start_new_session=True
        )
        self.text = ""

    def read_until(self, word: str) -> None:
        """Read what is drawn until the word appears after all that was awaited before."""
        drawn = ""
        deadline = time.monotonic() + 30
        while word not in drawn and time.monotonic() < deadline:
            if select.select([self.fd], [], [], 1)[0]:
                drawn += os.read(self.fd, 65536).decode(errors="replace")
        self.text += drawn
        assert word in drawn

    def close(self) -> int:
        """Give the exit code."""
        code = self.process.wait(30)
        assert termios.tcgetattr(self.inside) == self.modes  # the terminal is as it was
        os.close(self.fd)
        os.close(self.inside)
        return code


@pytest.mark.slow
@pytest.mark.parametrize(("leave", "code"), [("q", 0), ("Ctrl-C", 0), ("SIGTERM", 143)])
def test_it_follows_a_run_and_gives_the_terminal_back(tmp_path: Path, leave: str, code: int) -> None:
    write_run(tmp_path)
    screen = Screen(tmp_path)
    screen.read_until("412/8200")
    write_run(tmp_path, phase="draining")
    screen.read_until("draining")
    if leave == "q":
        os.write(screen.fd, b"xq")
    else:
        screen.process.send_signal(2 if leave == "Ctrl-C" else 15)
    screen.read_until("\x1b[?1049l")  # back from the alternate screen
    assert screen.close() == code


@pytest.mark.slow
def test_it_loads_neither_torch_nor_the_samplers(tmp_path: Path) -> None:
    write_run(tmp_path)
    code = (
        "import sys, metrics_dashboard\n"
        f"metrics_dashboard.main(['--run', {str(tmp_path)!r}, '--once'])\n"
        "print([name for name in ('torch', 'psutil', 'pynvml', 'wandb') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "[]\n"
