"""Results of judging reference solutions, and the factor on time limits that follows from those of HumanEval."""

from dataclasses import dataclass

# CPU time of all 164 canonical solutions of HumanEval on the machine for which the default limit was chosen: one core
# of a 2023 server (benchmarks/RESULTS.md, "The judge's yardstick"). In one process with their tests they take 0.5 s.
# Separate processes take 1.1 times as long, because arguments and values are passed as text.
REFERENCE_CPU_S = 0.55
MOST = 50.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The speed of this machine, measured with HumanEval's canonical solutions."""

    scale: float  # factor on the time limit
    cpu_s: float  # CPU time of all solutions
    slowest: str  # task of the slowest solution
    slowest_cpu_s: float


@dataclass(frozen=True, slots=True)
class References:
    """Results of judging a benchmark's reference solutions."""

    failed: dict[str, str]  # task -> outcome and detail; a defect of the dataset or of this machine
    bases_failed: dict[str, str]  # the same for tests of base problems, which are then not used
    unconfirmed: tuple[str, ...]  # tasks whose tests need more than plain data


def timeout_scale(cpu_s: float) -> float:
    """The factor for time limits on a machine where the canonical solutions take `cpu_s` of CPU time in total.

    Rounded to halves, so that noise rarely changes the factor of a machine. At least 1, also on fast machines.
    """
    return min(MOST, max(1.0, round(2 * cpu_s / REFERENCE_CPU_S) / 2))
