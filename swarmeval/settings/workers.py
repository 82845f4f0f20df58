"""`workers:` the processes that hold replicas: their place on the machine, their work, and when they are given up."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from swarmeval.settings.section import WEEK_S, Resumable, Section


class WorkersSettings(Section):
    """How worker processes are run."""

    nice: Resumable[int] = Field(
        0, ge=-20, le=19, description="added to the priority number of the workers; judges always come last"
    )
    cpu_affinity: Resumable[Literal["off", "spread"] | tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        "off",
        description="pins workers: CPU replicas each to their own share of all cores (spread), or of those listed",
    )
    max_in_flight: Resumable[Literal["auto"] | Annotated[int, Field(ge=1)]] = Field(
        "auto", description="batches a device may hold; auto keeps twice its rows busy"
    )
    max_attempts: Resumable[int] = Field(3, ge=1, description="tries of a job whose generation fails")
    timeout_s: Resumable[float] = Field(
        300.0, gt=0, le=WEEK_S, description="silence of a busy worker after which it is restarted"
    )
    load_timeout_s: Resumable[float] = Field(
        1800.0, gt=0, le=WEEK_S, description="time a worker may take to load its replica"
    )

    @field_validator("cpu_affinity")
    @classmethod
    def _each_core_once(cls, cores: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if not isinstance(cores, str) and len(set(cores)) < max(1, len(cores)):
            raise ValueError("list at least one core, and each once; or use spread or off")
        return cores
