"""One reading of one GPU, as gpu_monitor takes it and the monitor records it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """One NVML reading of one GPU or MIG instance. Fields that the device does not support are None."""

    index: int  # physical index
    uuid: str
    name: str
    utilization_pct: float | None = None
    memory_used_mb: float | None = None
    memory_total_mb: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle: str | None = None  # reasons for reduced clocks, joined by "+"; "" if there are none
    energy_mj: float | None = None  # since the driver was loaded
    processes: int | None = None  # number of compute processes
    process_memory_mb: str | None = None  # "PID:MiB" per process, joined by spaces; no ":MiB" if NVML hides it
    lost: bool = False  # whether the GPU no longer responds
    instance: str = ""  # MIG instance as "3:0": the ids of its GPU instance and compute instance

    @property
    def place(self) -> str:
        """Unique name on its machine: "2", or "2:3:0" for a MIG instance."""
        return f"{self.index}:{self.instance}" if self.instance else str(self.index)
