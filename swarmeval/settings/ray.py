"""`ray:` the Ray cluster that generates a run's replies."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class RaySettings(Section):
    """The connection to a Ray cluster."""

    address: Resumable[str] = Field(
        "auto",
        min_length=1,
        description="head node as host:port; auto uses RAY_ADDRESS, or the cluster running on this machine",
    )
