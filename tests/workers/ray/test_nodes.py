"""Placement of replicas on nodes, and unfit nodes. Needs neither Ray nor a cluster."""

import asyncio
import logging
from collections.abc import Callable, Mapping

import pytest

from swarmeval.errors import ConfigError, DeviceError
from swarmeval.settings.loading import load, parse_set, validate
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.ray.cluster import Cluster, check_reachable
from swarmeval.workers.ray.fleet import RayFleet
from swarmeval.workers.ray.nodes import Inspection, Node, NodeReport, name_for, slots, unfit_reason
from swarmeval.workers.replica_spec import ReplicaSpec

OURS = {"python": "3.12.1", "torch": "2.13.0+cpu", "ray": "2.60.0"}
FIT = NodeReport({"python": "3.12.1", "torch": "2.13.0+cu130", "ray": "2.60.0"}, "/models/a", "")
HUB = NodeReport(FIT.versions, f"/hub/snapshots/{'1' * 40}", "")
OLD = NodeReport({"python": "3.12.1", "torch": "2.12.0", "ray": ""}, "/models/a", "")
TWO = Node("aa11bb22", "left", 8.0, 2.0)
THREE = Node("cc33dd44", "right", 3.0, 0.0)


def config(**settings: object) -> RunConfig:
    return RunConfig.model_validate({"fleet": "ray", **settings})


def names(node: Node, environ: Mapping[str, str] | None = None, **settings: object) -> list[str]:
    return [slot.device.name for slot in slots(node, node.host, FIT, config(**settings), environ or {})]


def test_a_node_holds_a_replica_for_each_gpu_or_one_over_all() -> None:
    assert names(TWO) == ["left/cuda:0", "left/cuda:1"]
    assert {slot.gpus for slot in slots(TWO, "left", FIT, config(), {})} == {1.0}
    assert names(TWO, use_data_parallelism=False) == ["left/cuda:all"]
    assert [slot.gpus for slot in slots(TWO, "left", FIT, config(use_data_parallelism=False), {})] == [2.0]


def test_cpu_workers_share_the_cores_of_each_node() -> None:
    found = slots(TWO, "left", FIT, config(device="cpu", cpu_workers=3), {})
    assert [slot.device.name for slot in found] == ["left/cpu:0", "left/cpu:1", "left/cpu:2"]
    assert sum(slot.cpus for slot in found) <= TWO.cpus
    assert {slot.device.env["OMP_NUM_THREADS"] for slot in found} == {"2"}
    assert {slot.device.env["CUDA_VISIBLE_DEVICES"] for slot in found} == {""}
    assert {slot.model for slot in found} == {"/models/a"}  # the path found on that node


def test_a_thread_count_set_by_the_user_applies_on_every_node() -> None:
    (slot,) = slots(THREE, "right", FIT, config(device="cpu"), {"OMP_NUM_THREADS": "7"})
    assert slot.device.env["OMP_NUM_THREADS"] == "7"


def test_a_host_that_joins_again_gets_a_new_name() -> None:
    assert name_for(TWO, []) == "left"
    assert name_for(TWO, ["left"]) == "left-aa11bb"


def test_an_unfit_node_is_named_with_reason_and_remedy() -> None:
    assert unfit_reason("left", FIT, OURS, {}) is None
    assert unfit_reason("left", OLD, OURS, {}) == (
        "node left: has torch 2.12.0 (here 2.13.0+cpu), ray missing (here 2.60.0); "
        "install the same Python there, and in the same checkout: pip install '.[ray]'"
    )
    assert unfit_reason("left", NodeReport(FIT.versions, "", "a/b: not in the cache"), OURS, {}) == (
        "node left: a/b: not in the cache; copy the model to the node (nodes do not download it during a run)"
    )


def test_a_node_has_the_same_adapters_as_the_coordinator() -> None:
    here, there = ({"one": {"adapter_model.safetensors": digest}} for digest in ("aa", "bb"))
    assert unfit_reason("left", NodeReport(FIT.versions, "/models/a", "", here), OURS, here) is None
    assert unfit_reason("left", NodeReport(FIT.versions, "/models/a", "", there), OURS, here) == (
        "node left: adapters.one: its files differ from those here; copy the adapter to the node"
    )
    assert unfit_reason("left", NodeReport(FIT.versions, "/models/a", "adapters.one: missing"), OURS, here) == (
        "node left: adapters.one: missing; copy the adapter to the node (nodes do not download it during a run)"
    )


class MadeUp(Cluster):
    """A cluster defined by the test."""

    def __init__(self, **there: Inspection) -> None:
        self.there = there

    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(host * 8, host, 1.0, 0.0) for host in self.there)

    def inspect(
        self,
        nodes: tuple[Node, ...],
        model: Mapping[str, object] | None,
        packages: tuple[str, ...],
        adapters: Mapping[str, str],
    ) -> tuple[Inspection, ...]:
        return tuple(self.there[node.host] for node in nodes)

    def leave(self) -> None:
        pass


async def until(done: Callable[[], bool]) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.01)


def fleet_on(cluster: Cluster) -> RayFleet:
    def spec(model: str, device: str) -> ReplicaSpec:
        return ReplicaSpec("scripted", model, device, "auto", "auto", "off", "off", True, None, 8)

    return RayFleet(cluster, config(device="cpu"), OURS, spec, poll_s=0.01)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, "the Ray cluster has no node with a CPU; add one with: ray start --address=HEAD:6379"),
        ({"a": FIT, "b": "did not answer within 180 s"}, "node b: did not answer within 180 s"),
        (
            {"a": HUB, "b": HUB, "c": NodeReport(HUB.versions, f"/hub/snapshots/{'2' * 40}", "")},
            f"node c: has commit {'2' * 40} of the model, other nodes {'1' * 40}; set model_revision",
        ),
    ],
)
def test_an_unfit_cluster_is_refused_before_the_run(there: dict[str, Inspection], said: str) -> None:
    with pytest.raises(DeviceError) as error:
        fleet_on(MadeUp(**there)).gather()
    assert str(error.value) == said


@pytest.mark.slow
def test_a_listed_node_that_is_gone_is_used_only_once_it_is_back() -> None:
    cluster = MadeUp(a=FIT, b=None)
    fleet = fleet_on(cluster)
    fleet.gather()
    assert [worker.name for worker in fleet.workers] == ["a/cpu:0"]

    async def go() -> None:
        async with asyncio.timeout(10), fleet:
            cluster.there = {"a": FIT, "b": FIT}
            await until(lambda: len(fleet.workers) == 2)

    asyncio.run(go())
    assert [worker.name for worker in fleet.workers] == ["a/cpu:0", "b/cpu:0"]


def test_during_a_run_only_fit_nodes_join_and_lost_ones_do_not_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = MadeUp(a=FIT)
    fleet = fleet_on(cluster)
    fleet.gather()

    async def go() -> None:
        async with asyncio.timeout(10), fleet:
            cluster.there = {"a": FIT, "b": OLD, "c": FIT}
            await until(lambda: len(fleet.workers) == 2)
            cluster.there = {"c": FIT}
            await until(lambda: "left the cluster" in caplog.text)
            with pytest.raises(DeviceError) as error:
                await fleet.workers[0].start()
            assert str(error.value) == "a/cpu:0: its node left the cluster"

    with caplog.at_level(logging.WARNING, "swarmeval"):
        asyncio.run(go())
    assert [worker.name for worker in fleet.workers] == ["a/cpu:0", "c/cpu:0"]
    assert set(fleet.nodes) == {"a", "c"}
    assert [record.message for record in caplog.records] == [
        "node b: has torch 2.12.0 (here 2.13.0+cpu), ray missing (here 2.60.0); install the same Python there, and "
        "in the same checkout: pip install '.[ray]'; this run does not use the node",
        "node a: left the cluster",
    ]


def test_settings_of_another_fleet_are_refused() -> None:
    for words, said in (
        (["ray.address=a:1"], "ray.address is set but fleet is 'local'; set fleet: ray or remove ray.address"),
        (
            ["fleet=ray", "trace=true"],
            "trace needs processes that share one clock, on one machine; with fleet: ray remove it",
        ),
    ):
        with pytest.raises(ConfigError) as error:
            validate(parse_set(words), "x.yaml")
        assert str(error.value) == f"x.yaml: {said}"


def test_the_cluster_config_differs_from_the_reference_only_in_the_fleet() -> None:
    cluster, here = (load(f"config/{name}.yaml", {}).measured() for name in ("cluster", "config"))
    assert {key for key in here if here[key] != cluster[key]} == {"fleet"}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "ray://a:1",
            "ray.address is 'ray://a:1', but Ray Client is not supported; "
            "run main.py on a node of the cluster, with ray.address: auto",
        ),
        (
            "127.0.0.1:1",
            "ray.address is '127.0.0.1:1': no Ray cluster answers there ([Errno 111] Connection refused); "
            "start one with: ray start --head",
        ),
    ],
)
def test_an_address_without_a_cluster_fails_at_once(address: str, said: str) -> None:
    with pytest.raises(DeviceError) as error:
        check_reachable(address)
    assert str(error.value) == said
