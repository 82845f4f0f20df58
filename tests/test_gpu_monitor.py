"""Claims about the GPU monitor, made to the real pynvml through a small NVML library compiled here."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.records import DeviceSample
from gpu_monitor import list_devices, visible

ROOT = Path(__file__).resolve().parent.parent
NVML = r"""
#include <stdio.h>
#include <stdlib.h>
enum { OK = 0, NOT_SUPPORTED = 3, NO_DRIVER = 9, LOST = 15 };
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } load_t;
static long index_of(void *gpu) { return (long)gpu - 1; }
static int lost(void *gpu) { const char *which = getenv("FAKE_LOST"); return which && atol(which) == index_of(gpu); }

int nvmlInitWithFlags(unsigned flags) { return getenv("FAKE_NO_DRIVER") ? NO_DRIVER : OK; }
int nvmlShutdown(void) { return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 4; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    *gpu = (void *)(index + 1L);
    return lost(*gpu) ? LOST : OK;
}
int nvmlDeviceGetUUID(void *gpu, char *text, unsigned size) {
    snprintf(text, size, "GPU-%ldaaa", index_of(gpu));
    return OK;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned size) {
    snprintf(text, size, "Fake %ld", index_of(gpu));
    return OK;
}
int nvmlDeviceGetMemoryInfo(void *gpu, memory_t *memory) {
    if (lost(gpu)) return LOST;
    *memory = (memory_t){80000ull << 20, 60000ull << 20, 20000ull << 20};
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *gpu, load_t *load) {
    if (lost(gpu)) return LOST;
    *load = (load_t){90 + index_of(gpu), 50};
    return OK;
}
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned *celsius) {
    if (lost(gpu)) return LOST;
    if (index_of(gpu) == 0) return NOT_SUPPORTED;
    *celsius = 60 + index_of(gpu);
    return OK;
}
/* nvmlDeviceGetPowerUsage is missing, as in a driver older than the binding */
"""
GPUS = tuple(DeviceSample(index, f"GPU-{letter}{index}", "Fake") for index, letter in enumerate("aabc"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose libnvidia-ml.so.1 shows four GPUs."""
    folder = tmp_path_factory.mktemp("nvml")
    source = folder / "nvml.c"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def run(code: str, library: Path, **environ: str) -> str:
    """What a fresh interpreter prints when it finds NVML in this folder; its warnings are errors."""
    environ = {**os.environ, "LD_LIBRARY_PATH": str(library), **environ}
    command = [sys.executable, "-W", "error", "-c", f"import msgspec, os, gpu_monitor\n{code}"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


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
        )
        for index in range(4)
    )


@pytest.mark.slow
def test_a_gpu_lost_midway_keeps_its_place_without_figures(library: Path) -> None:
    code = """
monitor = gpu_monitor.GpuMonitor()
before = monitor.read()
os.environ["FAKE_LOST"] = "2"
print(msgspec.json.encode((before, monitor.read())).decode())
monitor.close()
monitor.close()
"""
    before, after = msgspec.json.decode(run(code, library), type=tuple[list[DeviceSample], list[DeviceSample]])
    assert after[2] == DeviceSample(2, "GPU-2aaa", "Fake 2")
    assert [*after[:2], *after[3:]] == [*before[:2], *before[3:]]


@pytest.mark.slow
def test_a_gpu_lost_from_the_start_is_not_listed(library: Path) -> None:
    devices = msgspec.json.decode(run(PRINT_DEVICES, library, FAKE_LOST="0"), type=list[DeviceSample])
    assert [device.index for device in devices] == [1, 2, 3]


@pytest.mark.slow
def test_without_a_driver_there_are_no_devices(library: Path) -> None:
    assert run(PRINT_DEVICES, library, FAKE_NO_DRIVER="1") == "[]\n"


@pytest.mark.slow
def test_without_the_library_there_are_no_devices(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")  # found before the real one, where there is one
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
