"""Claims about the background sampler: what it writes, what it hands on, and that it never ends what it watches."""

import csv
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from resource_monitor import GPU_COLUMNS, RESOURCE_COLUMNS, ResourceMonitor
from watch.host import hardware
from watch.processes import context_switches

WAIT_S = 20.0


class Listener:
    """A tracker that remembers, and tells when it has heard enough."""

    def __init__(self, enough: int = 1) -> None:
        self.heard: list[dict[str, float]] = []
        self._enough = enough
        self.satisfied = threading.Event()

    def log(self, values: Mapping[str, float]) -> None:
        self.heard.append(dict(values))
        if len(self.heard) >= self._enough:
            self.satisfied.set()

    def finish(self, summary: Mapping[str, object]) -> None:
        raise AssertionError("the monitor does not end the tracking")


def nothing() -> dict[str, int]:
    return {}


def watch(folder: Path, samples: int = 1, **live: float) -> Listener:
    """Let a monitor take at least so many samples."""
    tracker = Listener(samples)
    with ResourceMonitor(folder, 0.05, nothing, tracker, lambda: live):
        assert tracker.satisfied.wait(WAIT_S)
    return tracker


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_sample_is_a_row_with_all_columns_filled(tmp_path: Path) -> None:
    tracker = watch(tmp_path, 2, jobs_per_s=3.5)
    written = rows(tmp_path / "resource_trace.csv")
    assert len(written) == len(tracker.heard) >= 2
    assert all(tuple(row) == RESOURCE_COLUMNS and all(row.values()) for row in written)
    assert all(datetime.fromisoformat(row["time"]).tzinfo for row in written)
    elapsed = [float(row["elapsed_s"]) for row in written]
    assert elapsed == sorted(elapsed)


def test_the_tracker_gets_the_sample_and_the_live_numbers(tmp_path: Path) -> None:
    heard = watch(tmp_path, jobs_per_s=3.5).heard[0]
    assert heard["jobs_per_s"] == 3.5
    assert heard["ram_total_mb"] > heard["ram_used_mb"] > 0
    assert heard["coordinator_rss_mb"] > 1
    assert set(RESOURCE_COLUMNS) - {"time"} <= set(heard)


def test_the_gpu_trace_has_its_header_even_without_a_gpu(tmp_path: Path) -> None:
    watch(tmp_path)
    assert (tmp_path / "gpu_trace.csv").read_text().splitlines()[0] == ",".join(GPU_COLUMNS)


def test_a_resumed_run_appends_and_its_clock_goes_on(tmp_path: Path) -> None:
    watch(tmp_path)
    path = tmp_path / "resource_trace.csv"
    before = path.read_text()
    watch(tmp_path)
    assert path.read_text().startswith(before)
    assert path.read_text().count("elapsed_s") == 1
    assert float(rows(path)[-1]["elapsed_s"]) > float(rows(path)[before.count("\n") - 2]["elapsed_s"])


def test_a_run_shorter_than_the_interval_has_one_row_and_ends_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with ResourceMonitor(tmp_path, 3600, nothing, Listener(), dict):
        pass
    assert time.monotonic() - began < 5
    assert len(rows(tmp_path / "resource_trace.csv")) == 1


def test_a_monitor_that_never_started_stops() -> None:
    ResourceMonitor(Path("unused"), 1, nothing, Listener(), dict).stop()


def test_workers_are_summed_and_those_that_ended_add_nothing(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as worker:
        pids = {"cpu:0": worker.pid, "cpu:1": ended.pid, "own": os.getpid()}
        tracker = Listener(2)
        with ResourceMonitor(tmp_path, 0.05, lambda: pids, tracker, dict):
            assert tracker.satisfied.wait(WAIT_S)
        worker.communicate(b"\n")
    heard = tracker.heard[1]
    assert 1 < heard["workers_rss_mb"] < heard["coordinator_rss_mb"]


def test_failing_callbacks_are_logged_once_and_end_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Listener(3)

    def fail() -> dict[str, int]:
        raise RuntimeError("dictionary changed size during iteration")

    with (
        caplog.at_level(logging.WARNING),
        ResourceMonitor(tmp_path, 0.05, fail, tracker, fail),
    ):
        assert tracker.satisfied.wait(WAIT_S)
    error = "cannot be read, the run goes on (RuntimeError: dictionary changed size during iteration)"
    assert caplog.messages == [f"monitor: processes {error}", f"monitor: live numbers {error}"]
    first = rows(tmp_path / "resource_trace.csv")[0]
    assert first["cpu_pct"]
    assert first["coordinator_rss_mb"] == ""


def test_a_full_disk_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("resource_trace.csv", "gpu_trace.csv"):
        (tmp_path / name).symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        watch(tmp_path, 3)
    expected = "rows are lost, the run goes on (No space left on device)"
    assert caplog.messages == [f"{tmp_path / name}: {expected}" for name in ("resource_trace.csv", "gpu_trace.csv")]


def test_context_switches_of_all_threads_count() -> None:
    ping, pong = threading.Semaphore(0), threading.Semaphore(0)

    def answer() -> None:
        for _ in range(200):
            ping.acquire()
            pong.release()

    before = context_switches()
    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(200):
        ping.release()
        pong.acquire()
    thread.join()
    after = context_switches()
    assert after[0] - before[0] >= 50
    assert after[1] >= before[1]


def test_hardware_says_what_the_manifest_needs() -> None:
    found = hardware()
    assert set(found) == {"cpu", "physical_cores", "logical_cores", "usable_cores", "ram_mb", "gpus", "platform"}
    assert found["cpu"]
    assert isinstance(found["usable_cores"], int)
    assert found["usable_cores"] >= 1
