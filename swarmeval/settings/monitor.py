"""`monitor:` how often the machine is sampled during a run."""

from pydantic import Field

from swarmeval.settings.section import WEEK_S, Resumable, Section


class MonitorSettings(Section):
    """Timing of the resource monitor."""

    interval_s: Resumable[float] = Field(
        1.0, ge=0.05, le=86_400, description="seconds between samples of machine and GPUs"
    )
    idle_baseline_s: Resumable[float] = Field(
        3.0,
        ge=0,
        le=WEEK_S,
        description="seconds to measure idle power before the run, if energy counters exist; 0 skips this",
    )
