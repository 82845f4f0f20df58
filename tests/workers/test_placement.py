"""Priority and cores of workers: impossible settings are refused, others take effect in the worker processes."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.errors import ConfigError
from swarmeval.settings.loading import validate
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.workers import WorkersSettings
from swarmeval.workers import placement
from swarmeval.workers.placement import in_order, shares, worker_envs
from tests.support.checkout import ROOT
from tests.support.command_line import SMOKE, swarmeval

NOWHERE = Path("/nonexistent")


def cpu(workers: int, **settings: object) -> RunConfig:
    return validate({"device": "cpu", "cpu_workers": workers, **settings}, "x.yaml")


def machine(folder: Path, places: Sequence[tuple[int, int, int]]) -> Path:
    """/sys/devices/system/cpu of a machine whose core N is at (node, package, physical core)."""
    for number, (node, package, core) in enumerate(places):
        topology = folder / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "core_id").write_text(f"{core}\n")
        (topology.parent / f"node{node}").mkdir()
    return folder


@given(cores=st.lists(st.integers(0, 255), min_size=1, max_size=64, unique=True), workers=st.integers(1, 80))
def test_shares_are_equal_and_give_every_core_once(cores: list[int], workers: int) -> None:
    found = shares(cores, workers)
    sizes = [len(share) for share in found]
    assert len(found) == workers
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    assert {core for share in found for core in share} == set(cores)
    if workers <= len(cores):
        assert sum(sizes) == len(cores)


def test_a_share_stays_in_one_node_and_keeps_hyperthreads_together(tmp_path: Path) -> None:
    # The numbering of servers: nodes alternate, and the second threads of all cores come last.
    places = [(number % 2, number % 2, number // 2 % 2) for number in range(8)]
    cpus = machine(tmp_path, places)
    assert in_order(range(8), cpus) == [0, 4, 2, 6, 1, 5, 3, 7]
    envs = worker_envs(cpu(2, **{"workers.cpu_affinity": "spread"}), 2, {}, range(8), cpus)
    assert [env["SWARMEVAL_CORES"] for env in envs] == ["0,2,4,6", "1,3,5,7"]


def test_a_pinned_worker_has_a_thread_per_core_unless_the_user_sets_them() -> None:
    config = cpu(2, **{"workers.cpu_affinity": "spread"})
    assert [env["OMP_NUM_THREADS"] for env in worker_envs(config, 2, {}, range(7), NOWHERE)] == ["3", "4"]
    assert all("OMP_NUM_THREADS" not in env for env in worker_envs(config, 2, {"OMP_NUM_THREADS": "1"}, range(7)))


def test_listed_cores_are_divided_by_cpu_workers_and_shared_by_gpu_workers() -> None:
    listed = worker_envs(cpu(2, **{"workers.cpu_affinity": [4, 5, 6, 7]}), 2, {}, range(16), NOWHERE)
    assert [env["SWARMEVAL_CORES"] for env in listed] == ["4,5", "6,7"]
    gpus = worker_envs(RunConfig(workers=WorkersSettings(cpu_affinity=(4, 5, 6, 7))), 2, {}, range(16), NOWHERE)
    assert gpus == [{"SWARMEVAL_CORES": "4,5,6,7"}] * 2


def test_without_the_settings_a_workers_environment_has_no_placement() -> None:
    assert worker_envs(cpu(2), 2, {}, range(4)) == [{}, {}]


def test_a_missing_core_is_named_with_the_available_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        worker_envs(cpu(1, **{"workers.cpu_affinity": [2, 99]}), 1, {}, [0, 1, 2, 3, 8])
    assert str(caught.value) == "workers.cpu_affinity names core 99, but this run may use 0-3,8 only"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers.nice": 20}, "workers.nice is 20; it should be less than or equal to 19"),
        ({"workers.cpu_affinity": "all"}, "workers.cpu_affinity is 'all'; it should be 'off' or 'spread' or a list"),
        ({"workers.cpu_affinity": [-1]}, "workers.cpu_affinity.0 is -1; it should be greater than or equal to 0"),
        (
            {"workers.cpu_affinity": []},
            "workers.cpu_affinity: list at least one core and each core only once, or use spread or off",
        ),
        (
            {"workers.cpu_affinity": [1, 1]},
            "workers.cpu_affinity: list at least one core and each core only once, or use spread or off",
        ),
        (
            {"workers.cpu_affinity": "spread", "device": "cuda"},
            "workers.cpu_affinity: spread needs CPU replicas, but device is 'cuda'; list cores, or use off",
        ),
    ],
)
def test_meaningless_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(settings, "x.yaml")
    assert str(caught.value) == f"x.yaml: {said}"


def test_checking_a_priority_changes_none() -> None:
    now = os.getpriority(os.PRIO_PROCESS, 0)
    if now < 19:
        placement.check_nice(1)
    assert os.getpriority(os.PRIO_PROCESS, 0) == now


CHECK = """
import os, resource
from swarmeval.errors import ConfigError
from swarmeval.workers.placement import check_nice
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
now = os.nice(1)
for by in (-5, 19, 18 - now):
    try:
        check_nice(by)
    except ConfigError as error:
        print(str(error).replace(str(19 - now), "REST").replace(f" {now} ", " NOW "))
"""


@pytest.mark.slow
def test_a_forbidden_priority_is_refused_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "workers.nice is -5, which this account has no permission to set; use 0 to REST",
        "workers.nice is 19, but this run already has nice NOW and the limit is 19; use at most REST",
    ], done.stderr


@pytest.mark.slow
def test_a_missing_core_ends_the_run_before_files_are_moved(tmp_path: Path) -> None:
    (tmp_path / "score.json").write_text("{}")
    code, out, err = swarmeval(*SMOKE, "workers.cpu_affinity=[9999]", "--output_dir", str(tmp_path), "--fresh")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("swarmeval: workers.cpu_affinity names core 9999, but this run may use ")
    assert [path.name for path in tmp_path.iterdir()] == ["score.json"]


@pytest.mark.slow
def test_only_workers_get_the_requested_placement_and_the_manifest_says_so(tmp_path: Path) -> None:
    core, now = min(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0)
    before = psutil.Process().cpu_affinity()
    wanted = min(19 - now, 3)
    words = [f"workers.cpu_affinity=[{core}]", f"workers.nice={wanted}", "cpu_workers=2"]
    code, out, err = swarmeval(*SMOKE, *words, "--num_tasks", "2", "--output_dir", str(tmp_path))
    assert code == 0, out + err
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    place = {"cores": str(core), "nice": now + wanted}
    assert manifest["placement"].keys() <= {"cpu:0", "cpu:1"}  # on a busy machine, one may load after the last answer
    assert list(manifest["placement"].values()) == [place] * len(manifest["placement"])
    placed = manifest["config"]["workers"]
    assert (placed["nice"], placed["cpu_affinity"]) == (wanted, [core])
    first = min(manifest["placement"])
    assert f"{first}: on cores {core}, nice {now + wanted}" in (tmp_path / "run.log").read_text()
    assert psutil.Process().cpu_affinity() == before


@pytest.mark.slow
def test_every_thread_of_a_worker_is_on_its_cores() -> None:
    core = min(os.sched_getaffinity(0))
    program = (
        "import os, threading; from swarmeval.workers import placement\n"
        "placement.apply(os.environ)\n"
        "seen = []; look = lambda: seen.append((os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)))\n"
        "thread = threading.Thread(target=look); thread.start(); thread.join(); look(); print(seen)"
    )
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 2)
    env = os.environ | {"SWARMEVAL_CORES": str(core), "SWARMEVAL_NICE": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, start_new_session=True
    )
    assert done.stdout == f"{[({core}, nice)] * 2}\n", done.stderr
