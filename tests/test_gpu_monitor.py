"""Claims about the GPU monitor: the real pynvml calls a small NVML library compiled for the test."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from gpu_monitor import check_numbers, list_devices, visible
from swarmeval.device_sample import DeviceSample
from swarmeval.errors import DeviceError
from tests.support.fake_nvml import compiled, run_with

GPUS = tuple(DeviceSample(index, f"GPU-{letter}{index}", "Fake") for index, letter in enumerate("aabc"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose libnvidia-ml.so.1 shows four GPUs."""
    return compiled(tmp_path_factory.mktemp("nvml"))


def run(code: str, library: Path, said: str = "", **environ: str) -> str:
    return run_with(library, f"import msgspec, os, gpu_monitor\n{code}", said, environ)


PRINT_DEVICES = "print(msgspec.json.encode(gpu_monitor.list_devices()).decode())"


@pytest.mark.slow
def test_what_a_gpu_does_not_support_is_none_and_the_rest_is_read(library: Path) -> None:
    devices = msgspec.json.decode(run(PRINT_DEVICES, library), type=tuple[DeviceSample, ...])
    assert devices == tuple(
        DeviceSample(
            index=index,
            uuid=f"GPU-{index}aaa",
            name=f"Fake {index}",
            utilization_pct=90.0 + index,
            memory_used_mb=20000.0,
            memory_total_mb=80000.0,
            temperature_c=60.0 + index if index else None,  # not supported by the first
            power_w=None,  # the function is missing
            power_limit_w=700.0,
            sm_clock_mhz=1980.0,
            memory_clock_mhz=2619.0,
            throttle=("", "sw_power_cap+hw_thermal", "sw_power_cap+hw_thermal", None)[index],
            energy_mj=5000001500.0 + 1500 * index,
            processes=2 if index == 1 else 0,
            process_memory_mb="4711:19000 4712" if index == 1 else "",
        )
        for index in range(4)
    )


@pytest.mark.slow
def test_a_gpu_lost_midway_keeps_its_place_without_figures(library: Path) -> None:
    code = """
monitor = gpu_monitor.GpuMonitor()
before = monitor.read()
os.environ["FAKE_LOST"] = "2"
print(msgspec.json.encode((before, monitor.read(), monitor.read())).decode())
monitor.close()
monitor.close()
"""
    said = "GPU 2 (GPU-2aaa): lost (GPU is lost); the run continues without its readings\n"
    before, after, later = msgspec.json.decode(run(code, library, said), type=list[list[DeviceSample]])
    assert after[2] == later[2] == DeviceSample(2, "GPU-2aaa", "Fake 2", lost=True)
    drawn = {sample.index: sample.energy_mj for sample in after}
    assert [replace(sample, energy_mj=drawn[sample.index]) for sample in before if sample.index != 2] == [
        sample for sample in after if sample.index != 2
    ]


@pytest.mark.slow
def test_a_gpu_lost_from_the_start_is_not_listed(library: Path) -> None:
    devices = msgspec.json.decode(run(PRINT_DEVICES, library, FAKE_LOST="0"), type=list[DeviceSample])
    assert [device.index for device in devices] == [1, 2, 3]


@pytest.mark.slow
def test_without_a_driver_there_are_no_devices(library: Path) -> None:
    assert run(PRINT_DEVICES, library, FAKE_NO_DRIVER="1") == "[]\n"


@pytest.mark.slow
def test_without_the_library_there_are_no_devices(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")  # found before the real library, if there is one
    assert run(PRINT_DEVICES, tmp_path) == "[]\n"


def test_this_machine_lists_its_devices_in_order() -> None:
    devices = list_devices()
    assert [device.index for device in devices] == sorted(device.index for device in devices)


@pytest.mark.parametrize(
    ("wish", "indices"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2", [2]),
        ("3,1", [3, 1]),
        (" 3 , 1 ", [3, 1]),
        ("GPU-c3,GPU-a0", [3, 0]),
        ("GPU-b", [2]),  # a prefix of one UUID
        ("GPU-a", []),  # a prefix of two
        ("GPU-c3,0", [3, 0]),
        ("0,-1,1", [0]),  # the list ends at the first invalid entry
        ("0,9,1", [0]),
        ("0,,1", [0]),
        ("1,²,0", [1]),
        ("1,1", []),  # a device named twice leaves none
        ("1,GPU-a1", []),
    ],
)
def test_visible_devices_are_those_cuda_would_show(wish: str | None, indices: list[int]) -> None:
    assert [device.index for device in visible(GPUS, wish)] == indices


MIXED = (*GPUS[:2], DeviceSample(2, "GPU-b2", "T4"))
CUDA_ORDER = (
    "CUDA_VISIBLE_DEVICES=0,1: this machine has different GPUs (Fake, T4), which CUDA numbers fastest first; set "
    "CUDA_DEVICE_ORDER=PCI_BUS_ID to number them as nvidia-smi does, or use the UUIDs of nvidia-smi -L"
)


@pytest.mark.parametrize("order", [{}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}])
def test_numbers_that_cuda_may_read_differently_are_refused(order: dict[str, str]) -> None:
    with pytest.raises(DeviceError) as caught:
        check_numbers(MIXED, {"CUDA_VISIBLE_DEVICES": "0,1", **order})
    assert str(caught.value) == CUDA_ORDER


@pytest.mark.parametrize(
    ("gpus", "environ"),
    [
        (MIXED, {"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-b2"}),
        (MIXED, {"CUDA_VISIBLE_DEVICES": ""}),
        (MIXED, {}),
        (GPUS, {"CUDA_VISIBLE_DEVICES": "3,1"}),  # equal GPUs have the same order for both
        ((), {"CUDA_VISIBLE_DEVICES": "0"}),
    ],
)
def test_numbers_that_mean_the_same_to_both_are_accepted(
    gpus: tuple[DeviceSample, ...], environ: dict[str, str]
) -> None:
    check_numbers(gpus, environ)


@pytest.mark.slow
def test_the_instances_of_a_divided_gpu_are_listed_behind_it(library: Path) -> None:
    devices = msgspec.json.decode(run(PRINT_DEVICES, library, FAKE_MIG="1"), type=list[DeviceSample])
    assert [(one.place, one.uuid, one.name, one.memory_total_mb) for one in devices[1:4]] == [
        ("1", "GPU-1aaa", "Fake 1", 80000.0),
        ("1:4:0", "MIG-201bbb", "Fake MIG 1g.10gb", 10000.0),
        ("1:6:0", "MIG-203bbb", "Fake MIG 1g.10gb", 10000.0),
    ]
    assert (devices[2].power_w, devices[2].utilization_pct, devices[2].processes) == (None, None, 0)
    code = "print([one.index for one in gpu_monitor.list_settings()])"
    assert run(code, library, FAKE_MIG="1") == "[0, 1, 2, 3]\n"


DIVIDED = (
    *GPUS[:2],
    DeviceSample(1, "MIG-aa1", "MIG", instance="4:0"), DeviceSample(1, "MIG-ab2", "MIG", instance="6:0"), GPUS[2],
)  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "places"),
    [
        (None, ["0", "1:4:0", "1:6:0", "2"]),
        ("MIG-ab2,MIG-aa1", ["1:6:0", "1:4:0"]),
        ("MIG-ab,0", ["1:6:0", "0"]),
        ("MIG-a", []),  # a prefix of two
        ("MIG-GPU-a1/6/0", ["1:6:0"]),  # as drivers before 470 name it
        ("MIG-GPU-a1/5/0,0", []),
        ("MIG-GPU-b2/6/0", []),  # of another GPU
        ("1", ["1:4:0"]),  # CUDA shows a divided GPU as its first instance
        ("GPU-a1", ["1:4:0"]),
        ("1,MIG-aa1", []),  # named twice
    ],
)
def test_mig_instances_are_named_by_uuid_or_by_their_numbers(wish: str | None, places: list[str]) -> None:
    assert [device.place for device in visible(DIVIDED, wish)] == places
