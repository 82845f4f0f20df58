"""A level of load as people type it, and what a run that puts load on a server can be asked."""

from collections.abc import Callable, Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TESTGEN = "testgen"  # the benchmark that is a load
WEEK_S = 604_800

# What decides such a run alone, and what is for runs that are scored.
OWN = ("packages", "files_per_package", "load", "slo_ttft_s", "slo_tpot_s", "combine_with_model")
SCORED = (
    "num_agents", "agents", "num_samples", "max_repairs", "repair_sees", "batch_audit", "measure_baseline",
    "batch_size", "max_in_flight", "distribution", "max_attempts", "benchmark_file", "task_ids",
    "use_black_formatting", "accept_any_name", "eval_timeout_scale", "endpoint_samples",
)  # fmt: skip


class LoadLevel(BaseModel):
    """One entry of `load`: so many clients, each asking again when it has its answer, or so many arrivals a second."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    concurrency: int | None = Field(None, ge=1, le=100_000)
    rate: float | None = Field(None, gt=0, le=100_000)  # Poisson arrivals a second
    most: int | None = Field(None, ge=1)  # of those, answers in the air at once
    seconds: float | None = Field(None, gt=0, le=WEEK_S)  # requests begin within
    count: int | None = Field(None, ge=1)  # requests, warm-up included; with neither: every function once
    warmup_s: float = Field(0.0, ge=0, le=WEEK_S)  # of its beginning, that does not count

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.concurrency is None) == (self.rate is None):
            raise ValueError("a level of load has either concurrency or rate")
        if self.most is not None and self.rate is None:
            raise ValueError("most is for a rate; with concurrency no more are in the air anyway")
        if self.seconds is not None and self.warmup_s >= self.seconds:
            raise ValueError(f"warmup_s is {self.warmup_s:g} of {self.seconds:g} seconds, so that nothing counts")
        return self


def faults(config: Any, is_default: Callable[[str], bool]) -> Iterator[str]:
    """Why these settings cannot be meant together. `is_default` tells whether a key has its default."""
    if config.benchmark != TESTGEN:
        said = [key for key in OWN if not is_default(key)]
        yield from (f"{key} is set but benchmark is {config.benchmark!r}; set benchmark: testgen" for key in said)
        return
    yield from (f"{key} is empty; name at least one" for key in ("packages", "load") if not getattr(config, key))
    names = [f"{level.concurrency} at once" if level.rate is None else f"{level.rate:g}/s" for level in config.load]
    for name in names:
        if names.count(name) > 1:
            yield f"load has two levels of {name}, which no file could tell apart; leave one out"
    if config.fleet == "endpoint":
        room = config.endpoint_concurrency * len(config.endpoints)
        for level in config.load:
            if (level.concurrency or 0) > room:
                yield f"load asks {level.concurrency} at once, endpoint_concurrency allows {room}; raise it"


def unheeded(config: Any) -> list[str]:
    """What was set though it means nothing to this benchmark, in a line."""
    if config.benchmark != TESTGEN:
        return []
    said = [key for key in SCORED if key in config.model_fields_set]
    return [f"benchmark: testgen: no part of a load run, whatever is set here: {', '.join(said)}"] if said else []
