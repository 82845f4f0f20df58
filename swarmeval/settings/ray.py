"""`ray:` the cluster that answers a run."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class RaySettings(Section):
    """A Ray cluster."""

    address: Resumable[str] = Field(
        "auto", min_length=1, description="the cluster's head, as host:port; auto: RAY_ADDRESS, or the one running here"
    )
