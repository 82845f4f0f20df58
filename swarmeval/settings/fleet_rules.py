"""What each fleet can be asked, beside what any can."""

from collections.abc import Iterator

from swarmeval.settings.run_keys import RunKeys

COLDEST_VLLM = 0.01


def faults(config: RunKeys) -> Iterator[str]:
    """Why this fleet cannot do what these settings ask for."""
    yield from _of_ray(config)
    yield from _of_servers(config)
    yield from _of_vllm(config)


def _of_ray(config: RunKeys) -> Iterator[str]:
    """What a cluster cannot be asked, or what is said of one where none is."""
    if config.fleet != "ray":
        yield from _misplaced(config, "ray", config.ray.changed())
    elif config.trace:
        yield "trace is for the processes of one machine, whose clocks agree; leave it out with fleet: ray"
    elif not config.is_default("workers.cpu_affinity") or not config.is_default("workers.nice"):
        keys = "workers.cpu_affinity and workers.nice"
        yield f"{keys} are for the processes of one machine; leave them out with fleet: ray"


def _misplaced(config: RunKeys, fleet: str, changed: Iterator[str]) -> Iterator[str]:
    """A section that bears the name of another fleet than the one that is set."""
    for name in changed:
        key = f"{fleet}.{name}"
        yield f"{key} is set but fleet is {config.fleet!r}; set fleet: {fleet} or leave {key} out"


def _of_servers(config: RunKeys) -> Iterator[str]:
    """What servers cannot be asked, or what is said of them where none is."""
    if config.fleet != "endpoint":
        yield from _misplaced(config, "endpoint", config.endpoint.changed())
        return
    yield from config.endpoint.faults()
    if config.engine != "hf":
        yield f"engine is {config.engine!r} but fleet is 'endpoint', where servers answer; leave engine out"
    for key, instead in {
        "replica.rows": "set endpoint.concurrency",
        "cpu_workers": "leave it out",
        "workers.nice": "leave it out",
        "workers.cpu_affinity": "leave it out",
    }.items():
        if not config.is_default(key):
            yield f"{key} is for replicas of this machine and fleet is 'endpoint'; {instead}"
    if config.num_beams > 1:
        yield "num_beams above 1 is nothing that servers are asked for; set num_beams: 1"
    yield from _of_dialect(config)


def _of_dialect(config: RunKeys) -> Iterator[str]:
    """What the servers' fields cannot say."""
    if config.endpoint.dialect not in ("openai", "plain"):
        return
    dialect = f"endpoint.dialect: {config.endpoint.dialect}"
    own = [agent.top_k for agent in config.agents or ()] or [None]
    if config.do_sample and any(config.top_k if top_k is None else top_k for top_k in own):
        yield f"top_k is nothing that {dialect} can say; set top_k: 0"
    if config.repetition_penalty != 1.0:
        yield f"repetition_penalty is nothing that {dialect} can say; set repetition_penalty: 1.0"


def _of_vllm(config: RunKeys) -> Iterator[str]:
    """What vLLM cannot be asked."""
    if config.fleet != "vllm":
        return
    for key in ("engine", "replica.cpu_kernel", "replica.native_kernels"):
        if not config.is_default(key):
            yield f"{key} is set but fleet is 'vllm', which has its own; leave {key} out"
    if config.num_beams > 1:
        yield "num_beams above 1 is nothing that vLLM is asked for; set num_beams: 1"
    warmths = [agent.temperature or config.temperature for agent in config.agents or ()] or [config.temperature]
    if config.do_sample and min(warmths) < COLDEST_VLLM:
        yield f"temperature is below {COLDEST_VLLM}, which vLLM would raise to that; set do_sample: false or more"
