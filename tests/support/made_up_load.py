"""Rows of a load run with a known latency law, and the folders that such a run leaves."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from swarmeval.loadtest import facts as load_facts
from swarmeval.loadtest.facts import LevelFacts, LoadFacts, Memory, Slo
from swarmeval.loadtest.generator import Measured
from swarmeval.loadtest.request_rows import RequestRow, RowFile

FIXED_S, INPUT_S, OUTPUT_S = 0.05, 0.0004, 0.02  # latency of a request without contention
PACKAGES = ("numpy", "seaborn", "torch")
LINES = (("serving/pipeline.py", 40, 3 << 20), ("serving/pipeline.py", 7, 1 << 20))
MEMORY = Memory(LINES, (("ask", 2 << 20),), "a test")
WORTH = {"numpy": {"functions": 12, "line_coverage": 0.25, "passing": None}}
FACTS = LoadFacts(
    title="example/model, served", run_id="20270115-080000-abcdef", finished=True, slo=Slo(0.5, 0.05),
    levels=(LevelFacts("1 at once", 2.0, 300.0), LevelFacts("4 at once", 2.0)),
    settings={"model_id": "example/model", "seed": 3, "packages": None}, energy_source="RAPL",
    memory=MEMORY, worth=WORTH,
)  # fmt: skip


def row(
    number: int = 0,
    *,
    level: str = "1 at once",
    at: float = 0.0,
    latency_s: float = 1.0,
    ttft_s: float | None = 0.1,
    tokens: tuple[int | None, int | None] = (100, 40),
    error: str | None = None,
    counts: bool = True,
    package: str = "numpy",
    module: str = "numpy.core",
    **more: Any,
) -> RequestRow:
    """One request that was sent on schedule, at `at`."""
    first_s = None if ttft_s is None else at + ttft_s
    asked = Measured(number, at, at, first_s, at + latency_s, *tokens, error, counts)
    return RequestRow(level, asked, package, module, f"f{number}", **more)


def closed_loop(
    number: int,
    clients: int = 1,
    seed: int = 0,
    slowdown: float = 1.0,
    slopes: tuple[float, ...] = (1.0, 1.0, 1.0),
    noise: float = 0.05,
) -> list[RequestRow]:
    """Requests of a closed loop that cycle through the packages. `slopes`: the slowdown of tokens per package."""
    chance = random.Random(seed)
    clock = [0.0] * clients
    made = []
    for k in range(number):
        client, about = k % clients, k % len(slopes)
        inputs, outputs = chance.randint(50, 900), max(2, round(chance.expovariate(1 / 60)))
        noisy = slowdown * chance.uniform(1, 1 + noise)
        ttft_s = (FIXED_S + INPUT_S * inputs) * noisy
        latency_s = ttft_s + OUTPUT_S * slopes[about] * (outputs - 1) * noisy
        made.append(row(
            k, level=f"{clients} at once", at=clock[client], latency_s=latency_s, ttft_s=ttft_s,
            tokens=(inputs, outputs), package=PACKAGES[about], module=f"{PACKAGES[about]}.m{k // 9}",
            counts=k >= clients, written_s=clock[client] + latency_s + 0.25,
        ))  # fmt: skip
        clock[client] += latency_s
    return made


def leave(folder: Path, rows: Iterable[RequestRow], facts: LoadFacts | None = None) -> Path:
    """Write a run's folder and return it. Without facts, it looks like that of a run killed before it wrote any."""
    folder.mkdir(parents=True, exist_ok=True)
    with RowFile(folder) as file:
        for one in rows:
            file.append(one)
    if facts is not None:
        load_facts.write(folder, facts)
    return folder
