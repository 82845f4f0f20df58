"""Each worker sees exactly its own device, whatever the user's environment says."""

import pytest

from gpu_monitor import visible
from swarmeval.device_sample import DeviceSample
from swarmeval.errors import DeviceError
from swarmeval.location import ROOT
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers import vllm_settings
from swarmeval.workers.devices import SPINS, choose_devices, worker_env

GPUS = tuple(DeviceSample(index, f"GPU-{index}aaa-uuid", "H100") for index in range(4))
CUDA = RunConfig(device="cuda")


def worker_views(environ: dict[str, str]) -> list[tuple[str, str, str]]:
    """(name, torch device, CUDA_VISIBLE_DEVICES) of every worker in this environment."""
    devices = choose_devices(CUDA, visible(GPUS, environ.get("CUDA_VISIBLE_DEVICES")), environ, 8)
    return [(d.name, d.torch_device, worker_env(d, environ)["CUDA_VISIBLE_DEVICES"]) for d in devices]


def test_four_gpus_give_four_workers_that_see_one_each_as_cuda_0() -> None:
    assert worker_views({}) == [(f"cuda:{n}", "cuda:0", f"GPU-{n}aaa-uuid") for n in range(4)]


def test_a_reordered_cuda_visible_devices_reorders_and_filters_the_workers() -> None:
    assert worker_views({"CUDA_VISIBLE_DEVICES": "2,0"}) == [
        ("cuda:2", "cuda:0", "GPU-2aaa-uuid"),
        ("cuda:0", "cuda:0", "GPU-0aaa-uuid"),
    ]


def test_uuids_in_cuda_visible_devices_are_understood() -> None:
    assert worker_views({"CUDA_VISIBLE_DEVICES": "GPU-3aaa-uuid,GPU-1"}) == [
        ("cuda:3", "cuda:0", "GPU-3aaa-uuid"),
        ("cuda:1", "cuda:0", "GPU-1aaa-uuid"),
    ]


MIG = (
    DeviceSample(1, "MIG-1ccc", "H100 MIG 1g.10gb", instance="4:0"),
    DeviceSample(1, "MIG-2ccc", "H100 MIG 1g.10gb", instance="6:0"),
)


def test_every_mig_instance_has_a_worker_that_sees_it_alone() -> None:
    assert [
        (device.name, device.torch_device, worker_env(device, {})["CUDA_VISIBLE_DEVICES"])
        for device in choose_devices(CUDA, MIG, {}, 8)
    ] == [("cuda:1:4:0", "cuda:0", "MIG-1ccc"), ("cuda:1:6:0", "cuda:0", "MIG-2ccc")]


def test_the_worker_of_a_mig_instance_knows_the_number_of_its_gpu() -> None:
    """For vLLM, which cannot look a MIG instance up."""
    for device in choose_devices(CUDA, MIG, {}, 8):
        env = worker_env(device, {})
        vllm_settings.name_gpu_by_number(env)
        assert env["CUDA_VISIBLE_DEVICES"] == "1"
    whole = worker_env(choose_devices(CUDA, GPUS, {}, 8)[3], {})
    vllm_settings.name_gpu_by_number(whole)
    assert whole["CUDA_VISIBLE_DEVICES"] == "GPU-3aaa-uuid"


def test_a_model_is_not_sharded_over_mig_instances() -> None:
    config = RunConfig(device="cuda", use_data_parallelism=False)
    assert [device.name for device in choose_devices(config, MIG[:1], {}, 8)] == ["cuda:all"]
    with pytest.raises(DeviceError) as caught:
        choose_devices(config, MIG, {}, 8)
    assert str(caught.value) == (
        "use_data_parallelism is false, but a model cannot be sharded over MIG instances: a process sees one at most; "
        "use true, or name one in CUDA_VISIBLE_DEVICES"
    )


def test_a_sharded_model_has_one_worker_that_sees_every_gpu() -> None:
    config = RunConfig(device="cuda", use_data_parallelism=False)
    (device,) = choose_devices(config, GPUS[:2], {}, 8)
    assert device.name == "cuda:all"
    assert worker_env(device, {})["CUDA_VISIBLE_DEVICES"] == "GPU-0aaa-uuid,GPU-1aaa-uuid"


@pytest.mark.parametrize(
    ("environ", "where"),
    [({}, "none was found"), ({"CUDA_VISIBLE_DEVICES": ""}, "none with CUDA_VISIBLE_DEVICES=''")],
)
def test_cuda_without_a_gpu_is_refused_with_a_remedy(environ: dict[str, str], where: str) -> None:
    with pytest.raises(DeviceError) as caught:
        choose_devices(CUDA, (), environ, 8)
    assert str(caught.value) == (
        f"device is 'cuda' but this machine has no usable NVIDIA GPU ({where}); "
        "try --config config/smoke.yaml, or --set device=cpu"
    )


@pytest.mark.parametrize(("cores", "workers", "threads"), [(8, 2, "4"), (2, 2, "1"), (2, 4, "1"), (7, 2, "3")])
def test_cpu_workers_share_the_cores_and_see_no_gpu(cores: int, workers: int, threads: str) -> None:
    devices = choose_devices(RunConfig(device="cpu", cpu_workers=workers), GPUS, {}, cores)
    assert [device.name for device in devices] == [f"cpu:{n}" for n in range(workers)]
    for device in devices:
        env = worker_env(device, {})
        assert (env["OMP_NUM_THREADS"], env["CUDA_VISIBLE_DEVICES"]) == (threads, "")
        assert env["GOMP_SPINCOUNT"] == SPINS


def test_user_settings_take_precedence() -> None:
    mine = {
        "OMP_NUM_THREADS": "3",
        "OMP_WAIT_POLICY": "active",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "secret",
        "PYTHONPATH": "/mine",
    }
    (device,) = choose_devices(RunConfig(device="cpu"), (), mine, 8)
    env = worker_env(device, mine)
    assert {key: env[key] for key in mine} == {**mine, "PYTHONPATH": f"{ROOT}:/mine"}
    assert "GOMP_SPINCOUNT" not in env
