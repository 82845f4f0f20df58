"""`trackio:` tracking of runs with Trackio."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class TrackioSettings(Section):
    """Tracking of a run with Trackio."""

    enabled: Resumable[bool] = Field(False, description="true tracks the run with Trackio")
    project: Resumable[str] = Field("swarmeval", min_length=1, description="Trackio project of the run")
    space_id: Resumable[str | None] = Field(
        None,
        min_length=1,
        description="Hugging Face Space that receives the run, such as me/swarmeval; unset takes TRACKIO_SPACE_ID or "
        "TRACKIO_SERVER_URL, or else a database on this machine",
    )
