"""Rules that depend on the fleet: settings that a local, vLLM, endpoint or Ray fleet does not support."""

from collections.abc import Iterator

from swarmeval.settings.run_keys import RunKeys

COLDEST_VLLM = 0.01


def faults(config: RunKeys) -> Iterator[str]:
    """The settings that this fleet cannot obey, one message each."""
    yield from _of_ray(config)
    yield from _of_servers(config)
    yield from _of_vllm(config)


def _of_ray(config: RunKeys) -> Iterator[str]:
    """Settings that a Ray fleet does not support, or `ray:` settings without a Ray fleet."""
    if config.fleet != "ray":
        yield from _misplaced(config, "ray", config.ray.changed())
    elif config.trace:
        yield "trace needs processes that share one clock, on one machine; with fleet: ray remove it"
    elif not config.is_default("workers.cpu_affinity") or not config.is_default("workers.nice"):
        yield "workers.cpu_affinity and workers.nice apply to local workers only; with fleet: ray remove them"


def _misplaced(config: RunKeys, fleet: str, changed: Iterator[str]) -> Iterator[str]:
    """The changed keys of a section that belongs to a different fleet."""
    for name in changed:
        key = f"{fleet}.{name}"
        yield f"{key} is set but fleet is {config.fleet!r}; set fleet: {fleet} or remove {key}"


def _of_servers(config: RunKeys) -> Iterator[str]:
    """Settings that servers do not support, or `endpoint:` settings without an endpoint fleet."""
    if config.fleet != "endpoint":
        yield from _misplaced(config, "endpoint", config.endpoint.changed())
        return
    yield from config.endpoint.faults()
    if config.engine == "scripted":
        yield "engine is 'scripted' but with fleet: endpoint the servers generate; remove engine"
    if config.model_revision is not None:
        yield "model_revision is set but fleet is 'endpoint', whose servers chose their model; remove model_revision"
    for key, instead in {
        "replica.rows": "set endpoint.concurrency",
        "cpu_workers": "remove it",
        "workers.nice": "remove it",
        "workers.cpu_affinity": "remove it",
    }.items():
        if not config.is_default(key):
            yield f"{key} applies to local replicas only, but fleet is 'endpoint'; {instead}"
    if config.num_beams > 1:
        yield "fleet: endpoint does not support beam search; set num_beams: 1"
    yield from _of_dialect(config)


def _of_dialect(config: RunKeys) -> Iterator[str]:
    """Settings that the dialect has no request field for."""
    if config.adapters and config.endpoint.dialect == "llama.cpp":
        yield "endpoint.dialect: llama.cpp has no field that chooses an adapter by its name; remove adapters"
    if config.endpoint.dialect not in ("openai", "plain"):
        return
    dialect = f"endpoint.dialect: {config.endpoint.dialect}"
    own = [agent.top_k for agent in config.agents or ()] or [None]
    if config.do_sample and any(config.top_k if top_k is None else top_k for top_k in own):
        yield f"{dialect} has no field for top_k; set top_k: 0"
    own_min_p = [agent.min_p for agent in config.agents or ()] or [None]
    if config.do_sample and any(config.min_p if min_p is None else min_p for min_p in own_min_p):
        yield f"{dialect} has no field for min_p; set min_p: 0"
    if config.repetition_penalty != 1.0:
        yield f"{dialect} has no field for repetition_penalty; set repetition_penalty: 1.0"


def _of_vllm(config: RunKeys) -> Iterator[str]:
    """Settings that vLLM does not support."""
    if config.fleet != "vllm":
        yield from _misplaced(config, "vllm", config.vllm.changed())
        return
    yield from config.vllm.faults(config.use_data_parallelism)
    unused = ["engine"] if config.engine == "scripted" else []
    local = (
        "replica.weight_cache", "replica.double_quantization", "replica.quantization_block", "replica.native_kernels",
        "replica.share_answers",
    )  # fmt: skip
    unused += [key for key in local if not config.is_default(key)]
    for key in unused:
        yield f"{key} is set but fleet is 'vllm', which does not use it; remove {key}"
    if config.weights in ("int8", "gguf"):
        yield f"fleet: vllm does not load weights: {config.weights}; use nf4, bf16, fp16, fp32 or checkpoint"
    if config.num_beams > 1:
        yield "fleet: vllm does not support beam search; set num_beams: 1"
    if config.adapters:
        yield (
            "fleet: vllm does not load adapters; use fleet: local, or start a server with "
            "`vllm serve --enable-lora --lora-modules NAME=FOLDER` and use fleet: endpoint"
        )
    warmths = [agent.temperature or config.temperature for agent in config.agents or ()] or [config.temperature]
    if config.do_sample and min(warmths) < COLDEST_VLLM:
        yield (
            f"temperature is below {COLDEST_VLLM}, and vLLM would raise it to {COLDEST_VLLM}; "
            "set a higher temperature, or do_sample: false"
        )
    if "speculative_config" in config.vllm.args:
        yield from _of_speculation(config)


def _of_speculation(config: RunKeys) -> Iterator[str]:
    """Settings that vLLM 0.32 does not support with speculative decoding."""
    if config.do_sample and config.device == "cpu":
        yield (
            "vllm.args.speculative_config: on a CPU, vLLM 0.32 loses temperature, top_k and top_p with it; "
            "set do_sample: false, or remove it"
        )
    if config.thinking.budget_tokens is not None and config.device == "cpu":
        yield (
            "vllm.args.speculative_config: on a CPU, vLLM 0.32 may end a thought in the wrong reply with it; "
            "remove thinking.budget_tokens or it"
        )
    own = config.agents or ()
    for key, is_used in (("min_p", config.do_sample), ("logit_bias", True)):
        values = [getattr(agent, key) for agent in own] or [None]
        if is_used and any(getattr(config, key) if value is None else value for value in values):
            yield f"vllm.args.speculative_config: vLLM does not support {key} with it; remove one of both"
