"""What a load test can be asked, and what it does not heed."""

from collections.abc import Iterator

from swarmeval.location import command
from swarmeval.settings.run_keys import RunKeys

# What is for runs that are scored.
SCORED = (
    "num_agents", "agents", "num_samples", "max_repairs", "repair_sees", "audit.jobs", "batch_size",
    "workers.max_in_flight", "distribution", "workers.max_attempts", "benchmark", "benchmark_file", "task_ids",
    "use_black_formatting", "accept_any_name", "eval_timeout_scale", "endpoint.samples",
)  # fmt: skip


def faults(config: RunKeys) -> Iterator[str]:
    """Why no load can be put like this."""
    yield from config.loadtest.faults()
    if config.fleet == "endpoint":
        room = config.endpoint.concurrency * len(config.endpoint.urls)
        for level in config.loadtest.levels:
            if (level.concurrency or 0) > room:
                yield f"loadtest.levels asks {level.concurrency} at once, endpoint.concurrency allows {room}; raise it"


def ignored(config: RunKeys) -> list[str]:
    """What was set though it means nothing to a load test, in a line."""
    names = [key for key in SCORED if config.is_set(key)]
    return [f"loadtest: no part of a load test, whatever is set here: {', '.join(names)}"] if names else []


def misplaced(config: RunKeys) -> Iterator[str]:
    """What a run that is scored cannot be asked."""
    for name in config.loadtest.changed():
        yield f"loadtest.{name} is set but this is no load test; use {command()} loadtest, or leave it out"
