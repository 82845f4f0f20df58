"""The Ray fleet on a real cluster of several nodes on this machine: the contract of all fleets, and its own claims."""

import asyncio
import csv
import functools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmeval.errors import DeviceError, WorkerDied
from swarmeval.records import Completion, Verdict
from swarmeval.requests import ReplicaInfo
from swarmeval.workers.protocol import Worker
from swarmeval.workers.ray.cluster import Cluster
from swarmeval.workers.ray.fleet import RayFleet
from swarmeval.workers.ray.worker import RayWorker
from swarmeval.workers.replica_spec import Script, ScriptedFault
from tests.support import lora, tiny_model
from tests.support.checkout import ROOT
from tests.support.coordinator_bench import Bench
from tests.support.fleet_contract import FleetContract, collect, requests
from tests.support.ray_fleet import SLOW, fleet_on, versions
from tests.support.ray_nodes import Nodes, nodes

pytest.importorskip("ray", reason="ray is not installed (pip install '.[ray]')")
# Ray leaves its sockets and files to the garbage collector.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes(2) as made:
        yield made


class Staying(Cluster):
    """A cluster membership that outlives its fleets, since joining takes seconds."""

    def leave(self) -> None:
        pass


@pytest.fixture(scope="module")
def member(cluster: Nodes) -> Iterator[Cluster]:
    joined = Staying.join(cluster.address, {})
    yield joined
    Cluster.leave(joined)


def pid_of(worker: Worker) -> int:
    assert isinstance(worker, RayWorker)
    assert worker.node_pid is not None
    return worker.node_pid


def wait_for_end(pid: int, limit_s: float = 15.0) -> None:
    """Wait until a process has ended; fails after `limit_s`."""
    ends = time.monotonic() + limit_s
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < ends, f"process {pid} is still there"
        time.sleep(0.05)


class TestRayFleet(FleetContract):
    @pytest.fixture(autouse=True)
    def _on(self, member: Cluster) -> None:
        self.member = member

    def fleet(self, slow: bool = False) -> RayFleet:
        return fleet_on(self.member, SLOW if slow else Script(self.rows, 2))

    async def kill(self, worker: Worker) -> None:
        os.kill(pid_of(worker), signal.SIGKILL)


def test_a_hanging_worker_is_killed_and_leaving_the_fleet_leaves_no_actor(member: Cluster) -> None:
    async def go() -> list[int]:
        async with fleet_on(member, Script(4, faults=(ScriptedFault("hang", after=2),)), silence_s=2.0) as fleet:
            first, second = fleet.workers[:2]
            await asyncio.gather(first.start(), second.start())
            pids = [pid_of(first), pid_of(second)]
            with pytest.raises(WorkerDied) as death:
                await collect(first, requests(8))
            assert str(death.value) == f"{first.name}: sent nothing for 2 s (workers.timeout_s)"
            await first.start()
            assert len(await collect(first, requests(8))) == 8
            return [*pids, pid_of(first)]

    for pid in asyncio.run(go()):
        wait_for_end(pid)


def test_a_coordinator_that_is_killed_leaves_no_actor(cluster: Nodes) -> None:
    program = (
        "import asyncio, sys\n"
        "from swarmeval.workers.ray.cluster import Cluster\n"
        "from tests.support.ray_fleet import fleet_on\n"
        "async def go():\n"
        "    fleet = fleet_on(Cluster.join(sys.argv[1], {}))\n"
        "    async with fleet:\n"
        "        await fleet.workers[0].start()\n"
        "        print(fleet.workers[0].node_pid, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(go())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, cluster.address], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as coordinator:
        assert coordinator.stdout is not None
        pid = int(coordinator.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        coordinator.kill()
    wait_for_end(pid)


def main(cluster: Nodes, folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    words = ["--config", "config/smoke.yaml", "--output_dir", str(folder), "--set", "fleet=ray"]
    return subprocess.run(
        [sys.executable, "main.py", *words, f"ray.address={cluster.address}", "monitor.idle_baseline_s=0", *settings],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_run_on_a_cluster_hides_ray_and_names_nodes_and_devices(cluster: Nodes, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"rows": 1, "steps": 5, "step_s": 0.2}')  # slow enough for both nodes to take part
    done = main(cluster, tmp_path / "run", "engine=scripted", f"model_id={script}", "eval_timeout_scale=1")
    assert done.returncode == 0, done.stderr
    assert "raylet" not in (done.stdout + done.stderr).lower()
    assert "Warning" not in done.stderr
    manifest = json.loads((tmp_path / "run/manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["nodes"]) == 2
    assert platform.node() in manifest["nodes"]
    assert all(node["versions"]["ray"].startswith("2.60") for node in manifest["nodes"].values())
    devices = {f"{name}/cpu:0" for name in manifest["nodes"]}
    assert set(manifest["replicas"]) == devices
    with (tmp_path / "run/metrics.csv").open(encoding="utf-8", newline="") as file:
        assert {row["device"] for row in csv.DictReader(file)} == devices
    shown = subprocess.run(
        [sys.executable, "metrics_dashboard.py", "--run", str(tmp_path / "run"), "--once"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    for device in devices:
        (row,) = re.findall(rf"^{device} .*$", shown.stdout, re.MULTILINE)
        assert "GB" not in row  # the memory of other machines is unknown
        assert "/" not in row.removeprefix(device)


def test_a_model_missing_on_a_node_is_reported_before_the_run(cluster: Nodes, tmp_path: Path) -> None:
    done = main(cluster, tmp_path / "run", "model_id=nobody/nothing")
    assert done.returncode == 2
    assert re.fullmatch(
        r"swarmeval: node \S+: nobody/nothing: .+; "
        r"copy the model to the node \(nodes do not download it during a run\)\n",
        done.stderr,
    ), done.stderr
    assert not (tmp_path / "run").exists()


def test_a_cluster_answers_with_adapters_as_one_machine_does(cluster: Nodes, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft makes the adapters of this test; install the extra `dev`")
    tiny_model.save(tmp_path / "model")
    folders = lora.saved(tiny_model.model(), tmp_path / "adapters")
    adapters = {"none": None, **{name: str(folders[name]) for name in ("qv", "all")}}
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({
        "model_id": str(tmp_path / "model"), "adapters": adapters, "device": "cpu", "weights": "fp32",
        "num_agents": 3, "do_sample": False, "repetition_penalty": 1.0, "max_new_tokens": 12, "eval_timeout_scale": 1.0,
        "task_ids": ["HumanEval/23", "HumanEval/35"], "monitor": {"idle_baseline_s": 0}, "wandb": {"mode": "off"},
    }))  # fmt: skip
    replies = {}
    for fleet, *more in (("ray", f"ray.address={cluster.address}"), ("local",)):
        folder = tmp_path / fleet
        words = ["--config", str(config), "--output_dir", str(folder), "--set", f"fleet={fleet}", *more]
        done = subprocess.run(
            [sys.executable, "main.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        lines = [line for path in folder.glob("agent_*_results.jsonl") for line in path.read_text().splitlines()]
        replies[fleet] = {row["job_id"]: row["reply"] for row in map(json.loads, lines)}
    assert replies["ray"] == replies["local"]
    assert len(set(replies["ray"].values())) == 6  # each adapter answers each task in its own way


def test_a_node_with_another_version_is_reported(member: Cluster) -> None:
    with pytest.raises(DeviceError) as error:
        fleet_on(member, ours={**versions(), "ray": "2.61.0"})
    assert re.fullmatch(
        r"node \S+: has ray 2\.60\.\d+ \(here 2\.61\.0\); "
        r"install the same Python there, and in the same checkout: pip install '\.\[ray\]'",
        str(error.value),
    )


def test_each_worker_sees_one_gpu_of_its_node_and_is_named_by_it(cluster: Nodes, member: Cluster) -> None:
    node = cluster.add(gpus=2)
    told: list[str] = []

    def tell(settle: Callable[[RayWorker, list[str]], None], worker: RayWorker, gpus: list[str]) -> None:
        told.extend(gpus)
        settle(worker, gpus)

    async def go() -> None:
        async with fleet_on(member, engine="hf", model_id="embedded") as fleet:
            for worker in fleet.workers:
                worker.on_placed = functools.partial(tell, worker.on_placed)
            for _ in range(2):  # again, with both restarted at once
                await asyncio.gather(*(worker.start() for worker in fleet.workers))
                assert {worker.name.rpartition("/")[2] for worker in fleet.workers} == {"cuda:0", "cuda:1"}
                assert sorted(told) == ["cuda:0", "cuda:1"]
                told.clear()

    try:
        asyncio.run(go())
    finally:
        cluster.kill(node)


class OnNodes(Bench):
    """A coordinator that signals when 40 answers are judged, and accepts any replica."""

    def __init__(self, folder: Path, agents: int, tasks: int, **settings: object) -> None:
        super().__init__(folder, agents, tasks, **settings)
        self.under_way = threading.Event()

    def ready(self, device: str, info: ReplicaInfo) -> None:
        self.readied.append(device)

    async def judge(self, completion: Completion, hurried: bool) -> Verdict:
        if len(self.judged) >= 40:  # several judges may end between two calls
            self.under_way.set()
        return await super().judge(completion, hurried)


def test_with_a_node_killed_and_one_added_every_job_is_answered_once(
    cluster: Nodes, member: Cluster, tmp_path: Path
) -> None:
    node = cluster.add()
    bench = OnNodes(tmp_path, agents=6, tasks=100, batch_size=4)
    fleet = fleet_on(member, Script(4, 10, 0.02))
    before = {worker.name for worker in fleet.workers}
    with ThreadPoolExecutor(1) as pool:  # Ray starts nodes in the main thread only
        ended = pool.submit(bench.run, fleet)
        assert bench.under_way.wait(60)
        cluster.kill(node)
        cluster.add()
        assert ended.result(60)
    answers = bench.answers()
    assert set(answers) == bench.planned()
    assert all(isinstance(answer, Completion) for answer in answers.values())
    (joined,) = {worker.name for worker in fleet.workers} - before
    by = {entry.completion.device for entry in bench.journaled() if entry.completion}
    assert by == before | {joined}
