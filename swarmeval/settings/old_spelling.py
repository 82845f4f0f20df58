"""Keys of older versions: their new names and values, for error messages and for reading old manifests."""

from collections.abc import Iterator, Mapping

from swarmeval.settings.run_keys import RunKeys
from swarmeval.settings.section import flat, sections

NEW = {
    "replica.cpu_kernel": "replica.weight_cache",
    "cpu_kernel": "replica.weight_cache",
    "native_kernels": "replica.native_kernels",
    "engine_rows": "replica.rows",
    "cuda_graphs": "replica.cuda_graphs",
    "nice": "workers.nice",
    "cpu_affinity": "workers.cpu_affinity",
    "max_in_flight": "workers.max_in_flight",
    "max_attempts": "workers.max_attempts",
    "worker_timeout_s": "workers.timeout_s",
    "load_timeout_s": "workers.load_timeout_s",
    "sandbox": "sandbox.mode",
    "batch_audit": "audit.jobs",
    "measure_baseline": "audit.jobs",
    "monitor_interval_s": "monitor.interval_s",
    "idle_baseline_s": "monitor.idle_baseline_s",
    "wandb": "wandb.mode",
    "wandb_project": "wandb.project",
    "wandb_entity": "wandb.entity",
    "wandb_tags": "wandb.tags",
    "wandb_api_key": "wandb.api_key",
    "endpoints": "endpoint.urls",
    "endpoint_key_env": "endpoint.key_env",
    "endpoint_dialect": "endpoint.dialect",
    "endpoint_body": "endpoint.body",
    "endpoint_samples": "endpoint.samples",
    "endpoint_concurrency": "endpoint.concurrency",
    "endpoint_timeout_s": "endpoint.timeout_s",
    "ray_address": "ray.address",
    "serve_host": "serve.host",
    "serve_port": "serve.port",
    "serve_key_env": "serve.key_env",
    "serve_queue": "serve.queue",
    "packages": "loadtest.packages",
    "files_per_package": "loadtest.files_per_package",
    "load": "loadtest.levels",
    "slo_ttft_s": "loadtest.slo_ttft_s",
    "slo_tpot_s": "loadtest.slo_tpot_s",
    "combine_with_model": "loadtest.combine_with_model",
}
VALUES = {"replica.weight_cache": {"cached": "auto", "bnb": "off"}}  # of keys whose values changed, too
SECTIONS = sections(RunKeys)


def old_keys(values: Mapping[str, object]) -> Iterator[str]:
    """The keys in an old spelling. `wandb` and `sandbox` are now sections; a single value marks the old spelling."""
    return (key for key in flat(RunKeys, values) if key in NEW)


def remedy(key: str) -> str:
    """One line that gives the new name of an old key."""
    section, _, name = NEW[key].partition(".")
    values = ", ".join(f"{new} for {old}" for old, new in VALUES.get(NEW[key], {}).items())
    return f"{key} is now {NEW[key]}; in a file, write {section}: {{{name}: ...}}{values and f', with {values}'}"


def renewed(values: Mapping[str, object]) -> dict[str, object]:
    """The settings of a manifest with old keys moved to their sections, and old values replaced."""
    nested: dict[str, object] = {}
    inner: dict[str, dict[str, object]] = {}
    for key, value in flat(RunKeys, values).items():
        new = NEW.get(key, key)
        section, dot, name = new.partition(".")
        if dot and section in SECTIONS:
            inner.setdefault(section, {})[name] = VALUES.get(new, {}).get(str(value), value)
        else:
            nested[key] = value
    jobs = [count for key in ("batch_audit", "measure_baseline") if isinstance(count := values.get(key), int)]
    if jobs:
        inner["audit"] = {"jobs": max(jobs)}  # one audit served both keys
    return nested | inner
