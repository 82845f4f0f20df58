"""What each fleet can be asked, beside what any can. Rules over a RunConfig, which applies them to itself."""

from collections.abc import Callable, Iterator
from typing import Any

from swarmeval.settings import endpoint_rules

COLDEST_VLLM = 0.01


def faults(config: Any, is_default: Callable[[str], bool]) -> Iterator[str]:
    """Why this fleet cannot do what these settings ask for. `is_default` tells whether a key has its default."""
    yield from _of_ray(config, is_default)
    yield from _of_servers(config, is_default)
    yield from _of_vllm(config, is_default)


def _of_ray(config: Any, is_default: Callable[[str], bool]) -> Iterator[str]:
    """What a cluster cannot be asked, or what is said of one where none is."""
    if config.fleet != "ray":
        if not is_default("ray_address"):
            yield f"ray_address is set but fleet is {config.fleet!r}; set fleet: ray or leave ray_address out"
    elif config.trace:
        yield "trace is for the processes of one machine, whose clocks agree; leave it out with fleet: ray"
    elif not is_default("cpu_affinity") or not is_default("nice"):
        yield "cpu_affinity and nice are for the processes of one machine; leave them out with fleet: ray"


def _of_servers(config: Any, is_default: Callable[[str], bool]) -> Iterator[str]:
    """What servers cannot be asked, or what is said of them where none is."""
    if config.fleet != "endpoint":
        said = [key for key in type(config).model_fields if key.startswith("endpoint") and not is_default(key)]
        yield from (
            f"{key} is set but fleet is {config.fleet!r}; set fleet: endpoint or leave {key} out" for key in said
        )
        return
    if not config.endpoints:
        yield "fleet is 'endpoint' but endpoints is empty; name one, as endpoints: [http://host:8000/v1]"
    yield from endpoint_rules.urls(config.endpoints)
    yield from endpoint_rules.fields(config.endpoint_body)
    if config.engine != "hf":
        yield f"engine is {config.engine!r} but fleet is 'endpoint', where servers answer; leave engine out"
    for key, instead in {
        "engine_rows": "set endpoint_concurrency",
        "cpu_workers": "leave it out",
        "nice": "leave it out",
        "cpu_affinity": "leave it out",
    }.items():
        if not is_default(key):
            yield f"{key} is for replicas of this machine and fleet is 'endpoint'; {instead}"
    if config.num_beams > 1:
        yield "num_beams above 1 is nothing that servers are asked for; set num_beams: 1"
    if config.endpoint_dialect in ("openai", "plain"):
        own = [agent.top_k for agent in config.agents or ()] or [None]
        if config.do_sample and any(config.top_k if top_k is None else top_k for top_k in own):
            yield f"top_k is nothing that endpoint_dialect: {config.endpoint_dialect} can say; set top_k: 0"
        if config.repetition_penalty != 1.0:
            dialect = f"endpoint_dialect: {config.endpoint_dialect}"
            yield f"repetition_penalty is nothing that {dialect} can say; set repetition_penalty: 1.0"


def _of_vllm(config: Any, is_default: Callable[[str], bool]) -> Iterator[str]:
    """What vLLM cannot be asked."""
    if config.fleet != "vllm":
        return
    for key in ("engine", "cpu_kernel", "native_kernels"):
        if not is_default(key):
            yield f"{key} is set but fleet is 'vllm', which has its own; leave {key} out"
    if config.num_beams > 1:
        yield "num_beams above 1 is nothing that vLLM is asked for; set num_beams: 1"
    warmths = [agent.temperature or config.temperature for agent in config.agents or ()] or [config.temperature]
    if config.do_sample and min(warmths) < COLDEST_VLLM:
        yield f"temperature is below {COLDEST_VLLM}, which vLLM would raise to that; set do_sample: false or more"
