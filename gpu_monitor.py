"""Reads GPUs and their MIG instances through NVML, and selects those in CUDA_VISIBLE_DEVICES.

Empty without a GPU. The only module that imports pynvml. Knows nothing about runs, workers and torch. Indices are
NVML's (PCI bus order).
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from swarmeval.device_sample import DeviceSample
from swarmeval.errors import DeviceError

MIB = 1024 * 1024
# Bits of nvmlDeviceGetCurrentClocksEventReasons, without idle (1), which is not throttling.
THROTTLES = {
    2: "application_clocks", 4: "sw_power_cap", 8: "hw_slowdown", 16: "sync_boost", 32: "sw_thermal", 64: "hw_thermal",
    128: "power_brake", 256: "display_clocks", 512: "board_limit", 1024: "reliability",
}  # fmt: skip

log = logging.getLogger("swarmeval")


def list_devices() -> tuple[DeviceSample, ...]:
    """All physical GPUs in NVML's order, each before its MIG instances; empty without a driver."""
    with closing(GpuMonitor()) as monitor:
        return tuple(monitor.read())


@dataclass(frozen=True, slots=True)
class GpuSettings:
    """Settings of a GPU that affect the speed of a run; None if the driver does not report them."""

    index: int
    persistence: bool | None  # whether the driver stays loaded while idle
    bandwidth_gb_s: float | None  # theoretical memory bandwidth


def list_settings() -> tuple[GpuSettings, ...]:
    """Settings of all physical GPUs in NVML's order; empty without a driver."""
    with closing(GpuMonitor()) as monitor:
        return tuple(monitor.settings())


def visible(devices: Iterable[DeviceSample], cuda_visible_devices: str | None) -> tuple[DeviceSample, ...]:
    """The devices that CUDA shows for a value of CUDA_VISIBLE_DEVICES, in its order; None shows all.

    Follows the CUDA driver: an entry is an index, a UUID, or a prefix of exactly one UUID. The list ends at the first
    entry that matches no device, and a device listed twice makes it empty. A GPU with MIG instances stands for its
    first instance. Unlike CUDA, which shows at most one instance per process, this returns all listed instances,
    because each gets its own process here. With None, it returns all instances. Indices are NVML's; check_numbers
    tells whether they are CUDA's too.
    """
    known = tuple(devices)
    if cuda_visible_devices is None:
        divided = {device.index for device in known if device.instance}
        return tuple(device for device in known if device.instance or device.index not in divided)
    chosen: list[DeviceSample] = []
    for entry in cuda_visible_devices.split(","):
        device = _matching(known, entry.strip())
        if device is None:
            break
        if device in chosen:
            return ()
        chosen.append(device)
    return tuple(chosen)


def visible_to_process(devices: Iterable[DeviceSample]) -> tuple[DeviceSample, ...]:
    """The devices that this process's CUDA_VISIBLE_DEVICES shows."""
    return visible(devices, os.environ.get("CUDA_VISIBLE_DEVICES"))


def check_numbers(devices: Iterable[DeviceSample], environ: Mapping[str, str]) -> None:
    """Raise DeviceError if the numbers in CUDA_VISIBLE_DEVICES may mean other GPUs to CUDA than to NVML.

    NVML counts in PCI order. So does CUDA with CUDA_DEVICE_ORDER=PCI_BUS_ID; otherwise it counts from the fastest GPU,
    which NVML does not know. Equal GPUs are in PCI order either way.
    """
    chosen = environ.get("CUDA_VISIBLE_DEVICES", "")
    kinds = sorted({device.name for device in devices if not device.instance})
    numbers = any(entry.isascii() and entry.strip().isdigit() for entry in chosen.split(","))
    if numbers and len(kinds) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise DeviceError(
            f"CUDA_VISIBLE_DEVICES={chosen}: this machine has different GPUs ({', '.join(kinds)}), which CUDA numbers "
            "fastest first; set CUDA_DEVICE_ORDER=PCI_BUS_ID to number them as nvidia-smi does, or use the UUIDs "
            "of nvidia-smi -L"
        )


def _matching(devices: tuple[DeviceSample, ...], entry: str) -> DeviceSample | None:
    gpus = [device for device in devices if not device.instance]
    instances = [device for device in devices if device.instance]
    if entry.startswith("MIG-"):
        older = {(gpu.index, f"MIG-{gpu.uuid}/") for gpu in gpus}  # names of drivers before 470: MIG-GPU-.../3/0
        matches = [
            one for one in instances
            if one.uuid.startswith(entry) or any(
                one.index == index and entry == start + one.instance.replace(":", "/") for index, start in older
            )
        ]  # fmt: skip
    elif entry.startswith("GPU-"):
        matches = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    else:
        matches = [gpu for gpu in gpus if entry.isascii() and entry.isdigit() and gpu.index == int(entry)]
    if len(matches) != 1:
        return None
    (found,) = matches
    return found if found.instance else next((one for one in instances if one.index == found.index), found)


@dataclass(frozen=True, slots=True)
class _Gpu:
    index: int
    uuid: str
    name: str
    handle: Any  # opaque to us: pynvml's c_nvmlDevice_t
    instance: str = ""  # as in DeviceSample


class GpuMonitor:
    """An NVML session. Call read() any number of times, then close(). Without a driver, read() returns nothing."""

    def __init__(self) -> None:
        self._nvml = _import_pynvml()
        self._gpus: tuple[_Gpu, ...] = ()
        self._open = False
        self._lost: set[int] = set()  # indices of GPUs logged as lost
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError:
            return
        self._open = True
        self._gpus = self._discover()

    def read(self) -> list[DeviceSample]:
        """One sample per GPU. Unsupported fields, and all fields of a lost GPU, are None."""
        return [self._sample(gpu) for gpu in self._gpus]

    def settings(self) -> Iterator[GpuSettings]:
        """Yield the settings of each physical GPU."""
        for gpu in (gpu for gpu in self._gpus if not gpu.instance):
            persistence = self._query(self._nvml.nvmlDeviceGetPersistenceMode, gpu.handle)
            width_bits = self._query(self._nvml.nvmlDeviceGetMemoryBusWidth, gpu.handle)
            clock_mhz = self._query(self._nvml.nvmlDeviceGetMaxClockInfo, gpu.handle, self._nvml.NVML_CLOCK_MEM)
            twice = 2 * clock_mhz * 1e6 * width_bits / 8 / 1e9 if clock_mhz and width_bits else None  # double data rate
            yield GpuSettings(gpu.index, None if persistence is None else bool(persistence), twice)

    def close(self) -> None:
        """End the session. Idempotent."""
        if self._open:
            self._open = False
            self._gpus = ()
            self._query(self._nvml.nvmlShutdown)

    def _discover(self) -> tuple[_Gpu, ...]:
        """The GPUs that respond. CUDA could not use GPUs that are lost or not permitted."""
        gpus: list[_Gpu] = []
        for index in range(self._query(self._nvml.nvmlDeviceGetCount) or 0):
            handle = self._query(self._nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None:
                uuid = self._query(self._nvml.nvmlDeviceGetUUID, handle) or ""
                name = self._query(self._nvml.nvmlDeviceGetName, handle) or ""
                gpus += [_Gpu(index, uuid, name, handle), *self._instances(index, handle)]
        return tuple(gpus)

    def _instances(self, index: int, gpu: Any) -> Iterator[_Gpu]:
        """The MIG instances of a GPU. Each reports its own memory and processes."""
        mode = self._query(self._nvml.nvmlDeviceGetMigMode, gpu)
        count = self._query(self._nvml.nvmlDeviceGetMaxMigDeviceCount, gpu) if mode and mode[0] else None
        for number in range(count or 0):
            handle = self._query(self._nvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, number)
            if handle is not None:  # None: no instance has this number
                uuid = self._query(self._nvml.nvmlDeviceGetUUID, handle) or ""
                name = self._query(self._nvml.nvmlDeviceGetName, handle) or ""
                numbers = (self._nvml.nvmlDeviceGetGpuInstanceId, self._nvml.nvmlDeviceGetComputeInstanceId)
                instance = ":".join(str(self._query(call, handle)) for call in numbers)
                yield _Gpu(index, uuid, name, handle, instance)

    def _sample(self, gpu: _Gpu) -> DeviceSample:
        nvml, handle = self._nvml, gpu.handle
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError as error:
            if self._is_lost(gpu, error):  # each further query could block on the lost device
                return DeviceSample(gpu.index, gpu.uuid, gpu.name, lost=True, instance=gpu.instance)
            memory = None
        load = self._query(nvml.nvmlDeviceGetUtilizationRates, handle)
        processes, process_memory_mb = self._processes(handle)
        return DeviceSample(
            index=gpu.index,
            uuid=gpu.uuid,
            name=gpu.name,
            utilization_pct=None if load is None else float(load.gpu),
            memory_used_mb=None if memory is None else memory.used / MIB,
            memory_total_mb=None if memory is None else memory.total / MIB,
            temperature_c=self._number(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            power_w=self._number(nvml.nvmlDeviceGetPowerUsage, handle, unit=1000),
            power_limit_w=self._number(nvml.nvmlDeviceGetEnforcedPowerLimit, handle, unit=1000),
            sm_clock_mhz=self._number(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._number(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            throttle=self._throttle(handle),
            energy_mj=self._number(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            processes=processes,
            process_memory_mb=process_memory_mb,
            instance=gpu.instance,
        )

    def _is_lost(self, gpu: _Gpu, error: Any) -> bool:
        """Whether an error means that the GPU is lost, which is logged once."""
        if error.value not in (self._nvml.NVML_ERROR_GPU_IS_LOST, self._nvml.NVML_ERROR_RESET_REQUIRED):
            return False
        if gpu.index not in self._lost:
            self._lost.add(gpu.index)
            log.warning("GPU %d (%s): lost (%s); the run continues without its readings", gpu.index, gpu.uuid, error)
        return True

    def _throttle(self, handle: Any) -> str | None:
        bits = self._query(self._nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        if bits is None:  # the function's name in drivers before 535
            bits = self._query(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        return None if bits is None else "+".join(word for bit, word in THROTTLES.items() if bits & bit)

    def _processes(self, handle: Any) -> tuple[int | None, str | None]:
        processes = self._query(self._nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        if processes is None:
            return None, None
        each = (
            f"{one.pid}:{one.usedGpuMemory // MIB}" if one.usedGpuMemory is not None else one.pid for one in processes
        )
        return len(processes), " ".join(map(str, each))

    def _number(self, call: Callable[..., Any], *arguments: Any, unit: float = 1) -> float | None:
        value = self._query(call, *arguments)
        return None if value is None else value / unit

    def _query(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The result of an NVML call; None if it is not supported, missing in this driver, or the GPU is lost."""
        try:
            return call(*arguments)
        except self._nvml.NVMLError:
            return None


def _import_pynvml() -> ModuleType:
    # The package pynvml warns on import that its module comes from nvidia-ml-py. The filter is permanent and matches
    # the message, because catch_warnings would race with other threads.
    warnings.filterwarnings("ignore", "The pynvml package is deprecated", FutureWarning)
    import pynvml

    module: ModuleType = pynvml
    return module
