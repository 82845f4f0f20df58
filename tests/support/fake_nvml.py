"""A small NVML library with four GPUs, compiled here and found by the real pynvml in a child process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.support.checkout import ROOT

NVML = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, NO_DRIVER = 9, LOST = 15 };
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } load_t;
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } process_t;
static long index_of(void *gpu) { return (long)gpu - 1; }
/* FAKE_MIG: the GPU with this index is divided into two instances, with the numbers 0 and 2; they have memory only */
static int is_instance(void *gpu) { return (long)gpu > 100; }
static int lost(void *gpu) { const char *which = getenv("FAKE_LOST"); return which && atol(which) == index_of(gpu); }
/* from the moment on in which there is such a file, a driver that never answers */
static void hang(void) { const char *now = getenv("FAKE_HANG"); while (now && access(now, F_OK) == 0) pause(); }

int nvmlInitWithFlags(unsigned flags) { return getenv("FAKE_NO_DRIVER") ? NO_DRIVER : OK; }
int nvmlShutdown(void) { return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 4; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    *gpu = (void *)(index + 1L);
    return lost(*gpu) ? LOST : OK;
}
int nvmlDeviceGetMigMode(void *gpu, unsigned *now, unsigned *next) {
    const char *which = getenv("FAKE_MIG");
    *now = *next = which && atol(which) == index_of(gpu);
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(void *gpu, unsigned *count) { *count = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *gpu, unsigned index, void **instance) {
    if (index != 0 && index != 2) return NOT_FOUND;
    *instance = (void *)(100L * (long)gpu + index + 1);
    return OK;
}
int nvmlDeviceGetGpuInstanceId(void *instance, unsigned *id) { *id = 3 + (long)instance % 100; return OK; }
int nvmlDeviceGetComputeInstanceId(void *instance, unsigned *id) { *id = 0; return OK; }
int nvmlDeviceGetUUID(void *gpu, char *text, unsigned size) {
    if (is_instance(gpu)) {
        snprintf(text, size, "MIG-%ldbbb", (long)gpu);
        return OK;
    }
    snprintf(text, size, "GPU-%ldaaa", index_of(gpu));
    return OK;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned size) {
    if (is_instance(gpu)) snprintf(text, size, "Fake MIG 1g.10gb");
    else snprintf(text, size, "Fake %ld", index_of(gpu));
    return OK;
}
int nvmlDeviceGetMemoryInfo(void *gpu, memory_t *memory) {
    hang();
    if (lost(gpu)) return LOST;
    if (is_instance(gpu)) *memory = (memory_t){10000ull << 20, 9000ull << 20, 1000ull << 20};
    else *memory = (memory_t){80000ull << 20, 60000ull << 20, 20000ull << 20};
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *gpu, load_t *load) {
    if (is_instance(gpu)) return NOT_SUPPORTED;
    if (lost(gpu)) return LOST;
    *load = (load_t){90 + index_of(gpu), 50};
    return OK;
}
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned *celsius) {
    if (is_instance(gpu)) return NOT_SUPPORTED;
    if (lost(gpu)) return LOST;
    if (index_of(gpu) == 0) return NOT_SUPPORTED;
    *celsius = 60 + index_of(gpu);
    return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(void *gpu, unsigned *milliwatts) {
    if (is_instance(gpu)) return NOT_SUPPORTED;
    if (lost(gpu)) return LOST;
    *milliwatts = 700000;
    return OK;
}
int nvmlDeviceGetClockInfo(void *gpu, int clock, unsigned *mhz) {
    if (is_instance(gpu)) return NOT_SUPPORTED;
    if (lost(gpu)) return LOST;
    *mhz = clock == 1 ? 1980 : 2619;
    return OK;
}
/* a driver older than the name "event reasons": 1 idle, 4 power cap, 64 thermal; the last GPU does not know it */
int nvmlDeviceGetCurrentClocksThrottleReasons(void *gpu, unsigned long long *reasons) {
    if (index_of(gpu) == 3 || is_instance(gpu)) return NOT_SUPPORTED;
    *reasons = index_of(gpu) ? 4 + 64 : 1;
    return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *millijoules) {
    if (is_instance(gpu)) return NOT_SUPPORTED;
    if (lost(gpu)) return LOST;
    static unsigned long long drawn = 5000000000ull;
    *millijoules = drawn += 1500;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *gpu, unsigned *count, process_t *list) {
    unsigned room = *count;
    *count = index_of(gpu) == 1 ? 2 : 0;
    if (*count > room) return INSUFFICIENT_SIZE;
    if (*count) list[0] = (process_t){4711, 19000ull << 20, -1, -1}, list[1] = (process_t){4712, -1ull, -1, -1};
    return OK;
}
/* nvmlDeviceGetPowerUsage is missing, as in a driver older than the binding */
"""


def compiled(folder: Path) -> Path:
    """Build libnvidia-ml.so.1 in this folder and return the folder."""
    source = folder / "nvml.c"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def run_with(library: Path, code: str, stderr: str = "", environ: Mapping[str, str] = MappingProxyType({})) -> str:
    """The output of a new interpreter that finds NVML in this folder. Its warnings are errors.

    `stderr`: the exact text expected on stderr.
    """
    whole = {**os.environ, "LD_LIBRARY_PATH": str(library), **environ}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True)
    assert done.stderr == stderr
    return done.stdout
