"""`loadtest:` the load that `python main.py loadtest` puts on what answers."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from swarmeval.settings.section import WEEK_S, Section


class LoadLevel(Section):
    """One entry of `loadtest.levels`: clients that ask again when answered, or arrivals a second."""

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

    def name(self) -> str:
        return f"{self.concurrency} at once" if self.rate is None else f"{self.rate:g}/s"


class LoadTestSettings(Section):
    """The packages that tests are written for, the levels of load, and what counts as good."""

    packages: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("numpy",), description="for whose functions tests are written: names, or paths"
    )
    files_per_package: Annotated[int, Field(ge=1)] | None = Field(
        None, description="modules of each package, drawn by the seed; left out: all"
    )
    levels: tuple[LoadLevel, ...] = Field((LoadLevel(concurrency=8),), description="levels of load, one after another")
    slo_ttft_s: float | None = Field(None, gt=0, le=WEEK_S, description="TTFT that counts as good")
    slo_tpot_s: float | None = Field(None, gt=0, le=WEEK_S, description="TPOT that counts as good")
    combine_with_model: bool = Field(
        False, description="have the model itself tidy each merged test file, after the load"
    )

    def faults(self) -> Iterator[str]:
        """Why no load can be put like this."""
        yield from (f"loadtest.{key} is empty; name at least one" for key in ("packages", "levels")
                    if not getattr(self, key))  # fmt: skip
        names = [level.name() for level in self.levels]
        for name in names:
            if names.count(name) > 1:
                yield f"loadtest.levels has two levels of {name}, which no file could tell apart; leave one out"
