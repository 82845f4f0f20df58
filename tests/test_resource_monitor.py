"""Claims about the background sampler: what it writes and passes to trackers, and that its errors never stop a run."""

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
from types import MappingProxyType

import pytest

from resource_monitor import GPU_COLUMNS, LIVE_COLUMNS, RESOURCE_COLUMNS, ResourceMonitor
from swarmeval.monitor.host import hardware
from tests.support.fake_nvml import compiled, run_with

WAIT_S = 20.0


class Listener:
    """A tracker that keeps all samples and signals when it has received enough."""

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


LIVE = dict.fromkeys(("loop_lag_ms", *LIVE_COLUMNS), 1.0)
UNKNOWN = {"rapl_j", "disk_read_mb", "disk_write_mb"}  # not every machine provides them


def watch(folder: Path, samples: int = 1, live: Mapping[str, float] = MappingProxyType({})) -> Listener:
    """Let a monitor take at least this many samples."""
    tracker = Listener(samples)
    with ResourceMonitor(folder, 0.05, nothing, tracker, lambda: live):
        assert tracker.satisfied.wait(WAIT_S)
    return tracker


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_sample_is_a_row_with_all_columns_filled(tmp_path: Path) -> None:
    tracker = watch(tmp_path, 2, LIVE)
    written = rows(tmp_path / "resource_trace.csv")
    assert len(written) == len(tracker.heard) >= 2
    assert all(tuple(row) == RESOURCE_COLUMNS and all(row[key] for key in set(row) - UNKNOWN) for row in written)
    assert all(len(row["cpu_cores_pct"].split()) == os.cpu_count() for row in written)
    assert all(datetime.fromisoformat(row["time"]).tzinfo for row in written)
    elapsed = [float(row["elapsed_s"]) for row in written]
    assert elapsed == sorted(elapsed)


def test_the_tracker_gets_the_sample_and_the_live_numbers(tmp_path: Path) -> None:
    heard = watch(tmp_path, live={**LIVE, "beyond_the_row": 3.5}).heard[0]
    assert heard["beyond_the_row"] == 3.5
    assert heard["ram_total_mb"] > heard["ram_used_mb"] > 0
    assert heard["coordinator_rss_mb"] > 1
    assert set(RESOURCE_COLUMNS) - UNKNOWN - {"time", "cpu_cores_pct"} <= set(heard)
    assert all(isinstance(value, float | int) for value in heard.values())


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


@pytest.mark.slow
def test_meters_are_read_however_seldom_samples_are(tmp_path: Path) -> None:
    with ResourceMonitor(tmp_path, 3600, nothing, Listener(), dict, meter_every_s=0.01) as monitor:
        ends = time.monotonic() + WAIT_S
        while (read_at_s := monitor.drawn[1]) == 0 and time.monotonic() < ends:
            time.sleep(0.01)
    assert 0 < read_at_s < monitor.drawn[1]
    assert len(rows(tmp_path / "resource_trace.csv")) == 1


def test_the_clock_stands_until_the_meters_are_read(tmp_path: Path) -> None:
    monitor = ResourceMonitor(tmp_path, 3600, nothing, Listener(), dict)
    assert monitor.elapsed_s == 0.0
    began = time.monotonic()
    with monitor:
        pass
    assert 0 < monitor.drawn[1] < time.monotonic() - began


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
    assert (heard["workers_threads"], heard["python_processes"]) == (1, 2)


@pytest.mark.slow
def test_four_gpus_have_a_row_each_and_one_lost_midway_ends_nothing(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    code = f"""
import os, pathlib, threading
from resource_monitor import ResourceMonitor
heard = []
class Listener:
    def log(self, values):
        heard.append(values)
        if len(heard) == 3:
            os.environ["FAKE_LOST"] = "2"
        if len(heard) >= 6:
            done.set()
done = threading.Event()
with ResourceMonitor(pathlib.Path({str(tmp_path)!r}), 0.05, dict, Listener(), dict) as monitor:
    done.wait()
print(monitor.drawn[0].joules()["nvml"])
"""
    said = "GPU 2 (GPU-2aaa): lost (GPU is lost); the run continues without its readings\n"
    first = float(run_with(library, code, said))
    written = rows(tmp_path / "gpu_trace.csv")
    samples = [written[at : at + 4] for at in range(0, len(written), 4)]
    assert [[row["uuid"] for row in sample] for sample in samples] == [
        ["GPU-0aaa", "GPU-1aaa", "GPU-2aaa", "GPU-3aaa"]
    ] * len(samples)
    assert all(len({row["time"] for row in sample}) == 1 for sample in samples)
    assert all(set(GPU_COLUMNS) == set(row) and datetime.fromisoformat(row["time"]).tzinfo for row in written)
    lost = samples[-1][2]
    assert {key for key, cell in lost.items() if cell} == {"time", "elapsed_s", "index", "uuid", "name"}
    assert samples[0][2]["memory_used_mb"] == samples[-1][1]["memory_used_mb"] == "20000"
    assert samples[0][1]["throttle"] == "sw_power_cap+hw_thermal"
    # The fake adds 1.5 J between any two readings of any GPU; the run's energy starts at zero.
    drawn = [float(row["energy_mj"]) for row in written if row["energy_mj"] and row["index"] == "0"]
    assert (drawn[0], drawn[1]) == (6000, 12000)
    again = float(run_with(library, code.replace("if len(heard) == 3", "if False")))
    assert again > first  # a resumed run continues its count, although a reloaded driver restarts its counters
    resumed = [float(row["energy_mj"]) for row in rows(tmp_path / "gpu_trace.csv")[len(written) :]][::4]
    assert resumed[0] == drawn[-1] + 6000


def test_a_resumed_trace_of_other_columns_keeps_them_and_knows_no_energy(tmp_path: Path) -> None:
    path = tmp_path / "resource_trace.csv"
    path.write_text("time,elapsed_s,cpu_pct\n2026-01-01T00:00:00+00:00,7,50\n")
    tracker = Listener()
    with ResourceMonitor(tmp_path, 0.05, nothing, tracker, dict) as monitor:
        assert tracker.satisfied.wait(WAIT_S)
    assert set(rows(path)[-1]) == {"time", "elapsed_s", "cpu_pct"}
    assert 7 < float(rows(path)[-1]["elapsed_s"]) < 7 + WAIT_S
    assert monitor.drawn[0].rapl_j is None


def test_failing_callbacks_are_logged_once_and_end_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Listener(3)

    def fail() -> dict[str, int]:
        raise RuntimeError("dictionary changed size during iteration")

    with (
        caplog.at_level(logging.WARNING),
        ResourceMonitor(tmp_path, 0.05, fail, tracker, fail),
    ):
        assert tracker.satisfied.wait(WAIT_S)
    error = "(RuntimeError: dictionary changed size during iteration); the run continues"
    assert caplog.messages == [f"monitor: cannot read processes {error}", f"monitor: cannot read live numbers {error}"]
    first = rows(tmp_path / "resource_trace.csv")[0]
    assert first["cpu_pct"]
    assert first["coordinator_rss_mb"] == ""


def test_a_driver_that_hangs_holds_up_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked, answers = threading.Event(), threading.Event()

    def hang() -> dict[str, float]:
        asked.set()
        answers.wait()
        return {}

    monitor = ResourceMonitor(tmp_path, 0.05, nothing, Listener(), hang, patience_s=0.1)
    monitor.start()
    assert asked.wait(WAIT_S)
    for _ in range(2):
        monitor.stop()
    said = "monitor: no reading for 0.1 s (hanging driver?); the run ends without the last sample"
    assert caplog.messages == [said]
    answers.set()


def test_a_full_disk_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("resource_trace.csv", "gpu_trace.csv"):
        (tmp_path / name).symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        watch(tmp_path, 3)
    expected = "cannot write rows (No space left on device); the run continues without them"
    assert caplog.messages == [f"{tmp_path / name}: {expected}" for name in ("resource_trace.csv", "gpu_trace.csv")]


def test_hardware_says_what_the_manifest_needs() -> None:
    facts = hardware()
    assert set(facts) == {"cpu", "physical_cores", "logical_cores", "usable_cores", "ram_mb", "gpus", "platform"}
    assert facts["cpu"]
    assert isinstance(facts["usable_cores"], int)
    assert facts["usable_cores"] >= 1
