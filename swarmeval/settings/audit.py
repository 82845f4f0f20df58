"""`audit:` jobs answered again, one by one, after a run: what batching changed, and what it saved."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class AuditSettings(Section):
    """One audit serves the count of changed replies and the report's table of one job after another."""

    jobs: Resumable[int] = Field(
        0, ge=0, le=1_000_000, description="jobs answered again, one by one, after the run; 0: none"
    )
