"""`loadtest:` the load that `python main.py loadtest` generates."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from swarmeval.settings.section import WEEK_S, Section


class LoadLevel(Section):
    """One entry of `loadtest.levels`: a fixed number of concurrent clients, or a rate of arrivals."""

    concurrency: int | None = Field(None, ge=1, le=100_000)
    rate: float | None = Field(None, gt=0, le=100_000)  # Poisson arrivals per second
    most: int | None = Field(None, ge=1)  # with rate: limit on concurrent requests
    seconds: float | None = Field(None, gt=0, le=WEEK_S)  # no request starts later than this
    count: int | None = Field(None, ge=1)  # requests, warm-up included; without seconds or count: one per function
    warmup_s: float = Field(0.0, ge=0, le=WEEK_S)  # excluded from the results

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.concurrency is None) == (self.rate is None):
            raise ValueError("a load level needs either concurrency or rate, not both")
        if self.most is not None and self.rate is None:
            raise ValueError("most applies to a rate only; concurrency already limits requests; remove most")
        if self.seconds is not None and self.warmup_s >= self.seconds:
            raise ValueError(f"warmup_s ({self.warmup_s:g}) must be less than seconds ({self.seconds:g})")
        return self

    def name(self) -> str:
        return f"{self.concurrency} at once" if self.rate is None else f"{self.rate:g}/s"


class LoadTestSettings(Section):
    """The packages to write tests for, the load levels, and the service-level objectives."""

    packages: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("numpy",), description="packages whose functions the model writes tests for, as names or paths"
    )
    files_per_package: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of modules sampled from each package; unset uses all modules"
    )
    levels: tuple[LoadLevel, ...] = Field((LoadLevel(concurrency=8),), description="load levels, run one after another")
    slo_ttft_s: float | None = Field(
        None, gt=0, le=WEEK_S, description="service-level objective for TTFT in seconds; defines goodput"
    )
    slo_tpot_s: float | None = Field(
        None, gt=0, le=WEEK_S, description="service-level objective for TPOT in seconds; defines goodput"
    )
    combine_with_model: bool = Field(False, description="after the load, have the model clean up each merged test file")

    def faults(self) -> Iterator[str]:
        """Errors in these settings, one message each."""
        yield from (f"loadtest.{key} is empty; name at least one" for key in ("packages", "levels")
                    if not getattr(self, key))  # fmt: skip
        names = [level.name() for level in self.levels]
        for name in names:
            if names.count(name) > 1:
                yield f"loadtest.levels lists {name} twice, and both levels would share one file; remove one"
