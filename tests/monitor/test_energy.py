"""Claims about joules: counters that restart, missing readings, sums over sessions, undefined values."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.device_sample import DeviceSample
from swarmeval.monitor.energy import EarlierEnergy, Meter, Rapl, earlier, idle_watts
from swarmeval.runs.finished_run import energy_wh
from tests.support.fake_nvml import compiled, run_with

RANGE_UJ = 262_143_328_850


class Powercap:
    """A tree of RAPL zones as in Linux."""

    def __init__(self, root: Path, zones: dict[str, str], range_uj: int = RANGE_UJ) -> None:
        self.root = root
        self._range_uj = range_uj
        for folder, name in zones.items():
            (root / folder).mkdir(parents=True)
            (root / folder / "name").write_text(f"{name}\n")
            (root / folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
            self.show(folder, 0)

    def show(self, folder: str, drawn_uj: int) -> None:
        (self.root / folder / "energy_uj").write_text(f"{drawn_uj % self._range_uj}\n")


def gpu(uuid: str = "a", energy_mj: float | None = None, power_w: float | None = None) -> DeviceSample:
    return DeviceSample(0, uuid, "Fake", energy_mj=energy_mj, power_w=power_w)


@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 999), steps=st.lists(st.integers(0, 999), max_size=8))
def test_joules_are_right_however_often_the_counter_restarts(start: int, steps: Sequence[int]) -> None:
    with TemporaryDirectory() as folder:
        tree = Powercap(Path(folder), {"intel-rapl:0": "package-0"}, range_uj=1000)
        drawn = start
        tree.show("intel-rapl:0", drawn)
        rapl = Rapl(tree.root)
        for step in steps:
            drawn += step
            tree.show("intel-rapl:0", drawn)
            joules = rapl.joules()
            assert joules is not None
            assert math.isclose(joules, (drawn - start) / 1e6, abs_tol=1e-12)


def test_packages_and_memory_count_once_and_parts_of_them_not_at_all(tmp_path: Path) -> None:
    zones = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram",
             "intel-rapl:1": "package-1", "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0"}  # fmt: skip
    tree = Powercap(tmp_path, zones)
    rapl = Rapl(tmp_path)
    for zone in zones:
        tree.show(zone, 2_000_000)
    assert rapl.joules() == 6.0  # two packages and one memory


def test_what_may_not_be_read_is_absent_and_not_zero(tmp_path: Path) -> None:
    assert Rapl(tmp_path / "none").joules() is None
    tree = Powercap(tmp_path, {"intel-rapl:0": "package-0"})
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert Rapl(tmp_path).joules() is None
    tree.show("intel-rapl:0", 0)
    rapl = Rapl(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert rapl.joules() == 0.0
    tree.show("intel-rapl:0", 5_000_000)
    assert rapl.joules() == 5.0  # the next reading includes what a failed one missed


def test_a_gpu_counts_by_its_counter_or_by_its_power_or_not_at_all(tmp_path: Path) -> None:
    meter = Meter(Rapl(tmp_path), EarlierEnergy())
    meter.read([gpu("a", 5_000.0, 300.0), gpu("b", None, 100.0), gpu("c")], 0)
    meter.read([gpu("a", 9_000.0, 300.0), gpu("b", None, 200.0), gpu("c")], 2)
    assert meter.read([gpu("a"), gpu("b")], 3).gpus_j == {"a": 4.0, "b": 300.0}
    drawn = meter.read([gpu("a", 1_000.0), gpu("b", None, 200.0)], 4)  # the driver of a was reloaded
    assert drawn.gpus_j == {"a": 5.0, "b": 300.0 + 2 * 200.0}
    assert drawn.joules() == {"nvml": 705.0}
    assert meter.read([], 5).rapl_j is None


def test_sessions_add_up_and_the_time_between_them_does_not_count(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "cap", {"intel-rapl:0": "package-0"})
    (tmp_path / "r.csv").write_text("time,elapsed_s,rapl_j\nx,1,10.5\n")
    (tmp_path / "g.csv").write_text("time,uuid,energy_mj\nx,a,1000\nx,b,7000\nx,a,2000\nx,b,\n")
    before = earlier(tmp_path / "r.csv", tmp_path / "g.csv")
    assert before == EarlierEnergy(10.5, {"a": 2.0, "b": 7.0})
    tree.show("intel-rapl:0", 900_000_000)  # used between sessions
    meter = Meter(Rapl(tree.root), before)
    meter.read([gpu("a", 88_000.0)], 1)
    tree.show("intel-rapl:0", 901_000_000)
    assert meter.read([gpu("a", 89_000.0)], 2).joules() == {"nvml": 10.0, "rapl": 11.5}


def test_sessions_that_do_not_say_what_they_drew_leave_the_run_unknown(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "cap", {"intel-rapl:0": "package-0"})
    (tmp_path / "r.csv").write_text("time,elapsed_s\nx,1\n")
    (tmp_path / "g.csv").write_text("time,uuid,power_w\nx,a,300\n")
    before = earlier(tmp_path / "r.csv", tmp_path / "g.csv")
    assert before == EarlierEnergy(None, None)
    meter = Meter(Rapl(tree.root), before)
    meter.read([gpu("a", 1.0)], 1)
    assert meter.read([gpu("a", 2.0)], 2).joules() == {}
    assert earlier(tmp_path / "no.csv", tmp_path / "no.csv") == EarlierEnergy(0.0, {})


def test_torn_rows_in_the_traces_do_not_count_as_energy(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("time,elapsed_s,rapl_j\nx,1,5\n" + "\0" * 200_000)
    (tmp_path / "gpu_trace.csv").write_text(
        "elapsed_s,uuid,power_w,energy_mj\n0,a,300,1000\n" + "\0" * 200_000 + "\n2,a,300,2000\n3,a,x,nan\n4,a,3"
    )
    assert earlier(tmp_path / "r.csv", tmp_path / "gpu_trace.csv") == EarlierEnergy(5.0, {"a": 2.0})
    assert energy_wh(tmp_path, {}) == 600 / 3600


def test_the_idle_machine_is_watched_so_long_and_never_without_a_meter(tmp_path: Path) -> None:
    assert idle_watts(3600, lambda: [gpu()], Rapl(tmp_path)) == {}
    assert idle_watts(0, lambda: [gpu("a", 1.0)], Rapl(tmp_path)) == {}
    watts = idle_watts(0.05, lambda: [gpu("a", None, 60.0), gpu("b", None, 40.0)], Rapl(tmp_path))
    assert watts.keys() == {"nvml"}
    assert math.isclose(watts["nvml"], 100.0)


RUN = """
import asyncio, io, json, sys
from pathlib import Path
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.settings.monitor import MonitorSettings
from swarmeval.settings.run_config import RunConfig
from swarmeval.session.run_record import opened
from swarmeval.session.fleet_choice import ChosenFleet
from swarmeval.session.run_context import SessionContext, Swarm
from swarmeval.session.session import carry_out
from swarmeval.session.watchers import SessionWatchers
from swarmeval.watch.progress import ProgressDisplay
from human_eval_runner import load_tasks
from tests.support.echo_fleet import EchoFleet, EchoWorker
from swarmeval.monitor.tracking.tracker import NoTracker
from swarmeval.workers.devices import DeviceSpec

monitor = MonitorSettings(idle_baseline_s=0.1)
config = RunConfig(output_dir=sys.argv[1], eval_workers=1, eval_timeout_scale=1.0, monitor=monitor)
plan = Plan(make_agents(config), load_tasks(3))
devices = [DeviceSpec("cuda:1", "cuda:0", "GPU-1aaa"), DeviceSpec("cuda:3", "cuda:0", "GPU-3aaa")]
with opened(config, plan, {}, False) as record:
    record.note(data={"tasks": 3, "tasks_in_all": 164})
    fleet = EchoFleet([EchoWorker("cuda:1"), EchoWorker("cuda:3")])
    with SessionWatchers(config, record, fleet, devices, NoTracker()) as watchers:
        swarm = Swarm(plan, ChosenFleet("echo", devices, lambda tracer: fleet), watchers)
        context = SessionContext(config, record, ProgressDisplay(plan.total, io.StringIO()), swarm)
        print(carry_out(context).summary)
"""


@pytest.mark.slow
def test_a_run_on_gpus_says_what_it_drew_and_what_its_devices_held(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = f"import sys; sys.argv[1:] = [{str(folder)!r}]\n{RUN}"
    summary = run_with(compiled(tmp_path), code, environ={"CUDA_VISIBLE_DEVICES": "3,1"})
    score = json.loads((folder / "score.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    energy = score["energy"]
    assert energy["source"] == "nvml"
    assert energy["joules"] > 0
    assert energy["idle_w"] == manifest["idle_w"]["nvml"] > 0
    assert math.isclose(energy["joules_above_idle"], energy["joules"] - energy["idle_w"] * energy["watched_s"])
    assert math.isclose(energy["joules_per_evaluation"], energy["joules_above_idle"] / 3)
    assert energy["joules_per_solved_task"] is None  # echo workers solve nothing
    assert f"energy     {energy['joules']:,.0f} J (nvml), " in summary
    held = {"before_load_mb": 20000.0, "after_load_mb": 20000.0, "after_inference_mb": 20000.0, "peak_mb": 20000.0}
    assert manifest["memory"] == {name: {"of": "gpu", **held} for name in ("cuda:1", "cuda:3")}
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert all(event.keys() == {"time", "elapsed_s", "kind", "device", "text"} for event in events)
    kinds = [(event["kind"], event["device"]) for event in events]
    assert kinds[:2] == [("memory", "cuda:1"), ("memory", "cuda:3")]
    assert {("loaded", "cuda:1"), ("loaded", "cuda:3")} <= set(kinds)
    assert (events[0]["text"], events[-1]["text"]) == ("before loading 20,000 MiB", "after inference 20,000 MiB")


@pytest.mark.slow
@pytest.mark.fault("GPU driver hangs", "while a run is monitored", "the run still finishes and logs warnings")
def test_a_driver_that_hangs_from_the_first_job_costs_a_run_only_figures(tmp_path: Path) -> None:
    folder, hangs = tmp_path / "run", tmp_path / "hangs"
    patience = "from swarmeval.monitor import driver_thread\ndriver_thread.PATIENCE_S = 0.3\n"
    code = RUN.replace("        swarm = ", f"        Path({str(hangs)!r}).touch()\n        swarm = ")
    code = f"import sys; sys.argv[1:] = [{str(folder)!r}]\n{patience}{code}"
    summary = run_with(compiled(tmp_path), code, environ={"FAKE_HANG": str(hangs)})
    assert "0 of 3 answers passed, 3 of 164 tasks" in summary
    assert json.loads((folder / "manifest.json").read_text())["finished"]
    lines = (folder / "run.log").read_text().splitlines()
    assert [line.partition("swarmeval: ")[2] for line in lines if " WARNING " in line] == [
        "memory before loading: the driver does not respond; the run continues",
        "memory after inference: the driver does not respond; the run continues",
        "monitor: no reading for 0.3 s (hanging driver?); the run ends without the last sample",
    ]
