"""`workers:` settings of worker processes: priority, CPU cores, queue lengths, retries and timeouts."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from swarmeval.settings.section import WEEK_S, Resumable, Section


class WorkersSettings(Section):
    """Execution and restarts of worker processes."""

    nice: Resumable[int] = Field(
        0,
        ge=-20,
        le=19,
        description="added to the workers' nice value; judges beside CPU replicas run at the lowest priority",
    )
    cpu_affinity: Resumable[Literal["off", "spread"] | tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        "off",
        description="pins workers to the listed cores, or with spread to all; CPU replicas get one share each",
    )
    max_in_flight: Resumable[Literal["auto"] | Annotated[int, Field(ge=1)]] = Field(
        "auto",
        description="batches that a device may hold at once; auto follows the rows in use, from two jobs per row up",
    )
    max_attempts: Resumable[int] = Field(3, ge=1, description="attempts at a job whose generation fails")
    timeout_s: Resumable[float] = Field(
        300.0, gt=0, le=WEEK_S, description="seconds without a message after which a busy worker is restarted"
    )
    load_timeout_s: Resumable[float] = Field(
        1800.0, gt=0, le=WEEK_S, description="seconds that a worker may take to load its replica"
    )

    @field_validator("cpu_affinity")
    @classmethod
    def _each_core_once(cls, cores: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if not isinstance(cores, str) and len(set(cores)) < max(1, len(cores)):
            raise ValueError("list at least one core and each core only once, or use spread or off")
        return cores
