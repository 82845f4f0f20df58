"""`mlflow:` tracking of runs with MLflow."""

from typing import Annotated

from pydantic import Field, field_validator

from swarmeval.settings.section import Resumable, Section


class MlflowSettings(Section):
    """Tracking of a run with MLflow."""

    enabled: Resumable[bool] = Field(False, description="true tracks the run with MLflow")
    tracking_uri: Resumable[str | None] = Field(
        None,
        min_length=1,
        description="MLflow server or store, such as http://host:5000 or sqlite:///mlflow.db; unset takes "
        "MLFLOW_TRACKING_URI, or else MLflow's own default",
    )
    experiment: Resumable[str] = Field("swarmeval", min_length=1, description="MLflow experiment of the run")
    run_name: Resumable[str | None] = Field(
        None, min_length=1, description="name of the run in MLflow; unset takes the run's id"
    )
    tags: Resumable[dict[Annotated[str, Field(min_length=1)], str]] = Field(
        {}, description="MLflow tags of the run, such as {team: search}"
    )

    @field_validator("tracking_uri", mode="before")
    @classmethod
    def _no_secret_in_uri(cls, typed: object) -> object:
        """Run before all other checks, whose messages may quote the value."""
        if isinstance(typed, str) and "@" in typed:
            raise ValueError("the URI contains user:password@; put it into the variable MLFLOW_TRACKING_URI instead")
        return typed
