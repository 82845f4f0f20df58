"""`wandb:` tracking of runs with Weights & Biases."""

from typing import Literal

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class WandbSettings(Section):
    """Tracking of a run with Weights & Biases."""

    mode: Resumable[Literal["off", "offline", "online"]] = Field(
        "off", description="Weights & Biases tracking: off, offline (local files to sync later) or online"
    )
    project: Resumable[str] = Field("swarmeval", min_length=1, description="W&B project of the run")
    entity: Resumable[str | None] = Field(None, description="W&B user or team that owns the project")
    tags: Resumable[tuple[str, ...]] = Field((), description="W&B tags of the run")
    api_key: Resumable[str | None] = Field(
        None, repr=False, description="W&B API key; overrides WANDB_API_KEY and is never written to a file"
    )
