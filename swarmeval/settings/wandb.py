"""`wandb:` what Weights & Biases is told of a run."""

from typing import Literal

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class WandbSettings(Section):
    """A run's entry at Weights & Biases."""

    mode: Resumable[Literal["off", "offline", "online"]] = Field("off", description="Weights & Biases")
    project: Resumable[str] = Field("swarmeval", min_length=1, description="W&B project")
    entity: Resumable[str | None] = Field(None, description="W&B user or team")
    tags: Resumable[tuple[str, ...]] = Field((), description="W&B tags")
    api_key: Resumable[str | None] = Field(
        None, repr=False, description="W&B key; wins over WANDB_API_KEY, never written"
    )
