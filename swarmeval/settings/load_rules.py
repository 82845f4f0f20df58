"""Rules for load tests: settings that a load test refuses or ignores, and load settings that a scored run refuses."""

from collections.abc import Iterator

from swarmeval.location import command
from swarmeval.settings.run_keys import RunKeys

# Settings of scored runs, which a load test ignores.
SCORED = (
    "num_agents", "agents", "num_samples", "max_repairs", "repair_sees", "audit.jobs", "batch_size", "system_prompt",
    "assistant_prefill", "budget_prefixes",
    "workers.max_in_flight", "distribution", "workers.max_attempts", "benchmark", "benchmark_file", "task_ids",
    "released", "use_black_formatting", "accept_any_name", "eval_timeout_scale", "endpoint.samples",
)  # fmt: skip


def faults(config: RunKeys) -> Iterator[str]:
    """The settings that make this load test impossible, one message each."""
    yield from config.loadtest.faults()
    if config.adapters:
        yield "adapters are for scored runs and serve; a load test uses the model without one; remove adapters"
    if config.fleet == "endpoint":
        room = config.endpoint.concurrency * len(config.endpoint.urls)
        for level in config.loadtest.levels:
            if (level.concurrency or 0) > room:
                yield (
                    f"loadtest.levels has concurrency {level.concurrency} but endpoint.concurrency allows {room}; "
                    "raise endpoint.concurrency"
                )


def ignored(config: RunKeys) -> list[str]:
    """One line that lists the set keys that a load test ignores; empty if there are none."""
    names = [key for key in SCORED if config.is_set(key)]
    return [f"loadtest: ignored because they apply to scored runs only: {', '.join(names)}"] if names else []


def misplaced(config: RunKeys) -> Iterator[str]:
    """The load settings that were changed for a scored run, one message each."""
    for name in config.loadtest.changed():
        yield f"loadtest.{name} is set but this is not a load test; use {command()} loadtest, or remove it"
