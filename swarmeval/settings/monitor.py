"""`monitor:` how the machine is watched during a run."""

from pydantic import Field

from swarmeval.settings.section import WEEK_S, Resumable, Section


class MonitorSettings(Section):
    """The monitor's clock."""

    interval_s: Resumable[float] = Field(1.0, ge=0.05, le=86_400, description="seconds between monitor samples")
    idle_baseline_s: Resumable[float] = Field(
        3.0, ge=0, le=WEEK_S, description="seconds of watching the idle machine, where it tells its energy; 0: none"
    )
