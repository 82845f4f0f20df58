"""`audit:` jobs regenerated one by one after a run, to measure what batching changed and how much time it saved."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class AuditSettings(Section):
    """One audit gives both the number of replies that batching changed and the report's table of batching speed-ups."""

    jobs: Resumable[int] = Field(
        0, ge=0, le=1_000_000, description="number of jobs to regenerate one by one after the run; 0 disables the audit"
    )
