"""`opentelemetry:` export of a run's spans."""

from pydantic import Field, field_validator

from swarmeval.settings.section import Resumable, Section


class OpenTelemetrySettings(Section):
    """Export of a run's spans by OTLP over HTTP."""

    enabled: Resumable[bool] = Field(
        False, description="true sends spans of the run's phases, answers and verdicts to an OpenTelemetry collector"
    )
    endpoint: Resumable[str | None] = Field(
        None,
        min_length=1,
        description="base URL of the collector, to which /v1/traces is added; unset takes OTEL_EXPORTER_OTLP_ENDPOINT, "
        "or else http://localhost:4318",
    )

    @field_validator("endpoint", mode="before")
    @classmethod
    def _plain_url(cls, typed: object) -> object:
        """Run before all other checks, whose messages may quote the value."""
        if isinstance(typed, str) and "@" in typed:
            raise ValueError("the URL contains user:password@; put the key into OTEL_EXPORTER_OTLP_HEADERS instead")
        if isinstance(typed, str) and not typed.startswith(("http://", "https://")):
            raise ValueError(f"opentelemetry.endpoint is {typed!r}; it should begin with http:// or https://")
        return typed
