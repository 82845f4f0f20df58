"""Memory of devices: NVML's figure for GPUs, the worker process for CPU devices, and the peak of each."""

import os

from swarmeval.device_sample import DeviceSample
from swarmeval.monitor.device_memory import (
    AFTER_INFERENCE,
    AFTER_LOAD,
    BEFORE_LOAD,
    DeviceMemory,
    MemoryReadings,
    WatchedDevice,
)


def gpu(index: int, used_mb: float | None) -> DeviceSample:
    return DeviceSample(index, f"GPU-{index}", "Fake", memory_used_mb=used_mb)


def test_a_gpu_has_its_moments_and_the_most_ever_seen() -> None:
    memory = DeviceMemory([WatchedDevice("cuda:1", ("GPU-1",))], dict)
    memory.snapshot(BEFORE_LOAD, [gpu(0, 9000.0), gpu(1, 300.0)])
    memory.add_reported("cuda:1", BEFORE_LOAD, 80.0)  # the process's figure is ignored for GPUs
    assert memory.snapshot(AFTER_LOAD, [gpu(1, 6000.0)], ["cuda:1"]) == {"cuda:1": 6000.0}
    memory.look([gpu(1, 7500.0)])
    memory.look([gpu(1, None)])
    memory.snapshot(AFTER_INFERENCE, [gpu(1, 7000.0)])
    assert memory.readings == {"cuda:1": MemoryReadings("gpu", 300.0, 6000.0, 7000.0, 7500.0)}


def test_a_sharded_model_holds_the_sum_of_its_gpus_or_it_is_unknown() -> None:
    memory = DeviceMemory([WatchedDevice("cuda:all", ("GPU-0", "GPU-1"))], dict)
    assert memory.snapshot(AFTER_LOAD, [gpu(0, 100.0), gpu(1, 200.0)]) == {"cuda:all": 300.0}
    assert memory.snapshot(AFTER_INFERENCE, [gpu(0, 100.0)]) == {}
    assert memory.readings["cuda:all"] == MemoryReadings("gpu", None, 300.0, None, 300.0)


def test_a_cpu_device_holds_its_process_memory_and_the_kernel_has_the_peak() -> None:
    memory = DeviceMemory([WatchedDevice("cpu:0"), WatchedDevice("cpu:1")], lambda: {"cpu:0": os.getpid()})
    memory.add_reported("cpu:0", BEFORE_LOAD, 5.0)
    assert memory.snapshot(AFTER_LOAD, ()).keys() == {"cpu:0"}
    held = memory.readings["cpu:0"]
    assert held.before_load_mb == 5.0
    assert held.after_load_mb is not None
    assert held.peak_mb is not None
    assert held.peak_mb >= held.after_load_mb > 5.0
    assert memory.readings["cpu:1"] == MemoryReadings("process")
