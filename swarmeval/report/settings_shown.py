"""The settings that a report or a summary lists: those that had an effect on the run."""

from collections.abc import Iterator, Mapping
from typing import Any

from swarmeval.report.words import duration

UNKNOWN = "unknown (imported replies)"
SAMPLED = ("temperature", "top_p", "top_k", "min_p")  # unused by greedy decoding; agents may override them
PENALTIES = ("presence_penalty", "frequency_penalty", "logit_bias")
PROMPTS = ("system_prompt", "chat_template", "chat_template_kwargs", "assistant_prefill")
SHOWN_IF_SET = ("min_p", *PENALTIES, *PROMPTS)
GENERATION = (
    "prompt_mode", *PROMPTS, *SAMPLED, "repetition_penalty", *PENALTIES, "do_sample", "num_beams", "max_new_tokens",
    "load_in_4bit", "num_samples", "max_repairs", "batch_size", "seed",
)  # fmt: skip
NOT_SET = ("0.0", "{}", "None", "")
OWN = {"num_samples": "samples", "max_repairs": "repairs"}  # names in an agent's entry of the manifest
MOST_VALUES = 5  # listed per setting, if agents differ in it

Manifest = Mapping[str, Any]


def settings(manifest: Manifest) -> list[tuple[str, str]]:
    """The settings that determine a score, and the hardware."""
    made = _replies(manifest) if is_of_replies(manifest) else _generation(manifest)
    hardware, versions = manifest.get("hardware", {}), manifest.get("versions", {})
    gpus = [str(gpu.get("name", gpu)) if isinstance(gpu, dict) else str(gpu) for gpu in hardware.get("gpus", [])]
    shown = [
        *made, ("weights", weights(manifest)), *_judging(manifest), ("cpu", hardware.get("cpu")),
        ("cores", hardware.get("usable_cores")), ("gpus", ", ".join(gpus) or None),
        ("swarmeval", versions.get("swarmeval")),
    ]  # fmt: skip
    return [(key, str(value)) for key, value in shown if value is not None]


def weights(manifest: Manifest) -> str | None:
    """The format of the replicas' weights and the bytes that each weight takes; None if nothing is known."""
    shown = {_weights(replica) for replica in manifest.get("replicas", {}).values() if replica.get("weights")}
    return ", ".join(sorted(shown)) or None


def _weights(replica: Mapping[str, Any]) -> str:
    loaded, used = replica.get("loaded_bytes_per_weight"), replica.get("bytes_per_weight")
    if not (isinstance(loaded, float) and isinstance(used, float)):
        return str(replica["weights"])
    kept = f"{loaded:.2f} bytes per weight"
    return f"{replica['weights']}; {kept}{f' as loaded, {used:.2f} in memory' if f'{used:.2f}' not in kept else ''}"


def is_of_replies(manifest: Manifest) -> bool:
    """Whether `score` made this manifest, from imported replies."""
    return "replies" in manifest


def replies(manifest: Manifest) -> str:
    """The path of the judged file and its number of lines."""
    file = manifest["replies"]
    lines = file.get("lines")
    return str(file.get("path")) + (f" ({lines:,} line{'s' * (lines != 1)})" if isinstance(lines, int) else "")


def time_limit(manifest: Manifest) -> str | None:
    """The time limit of a program, with the factor for this machine."""
    seconds, scale = manifest.get("config", {}).get("eval_timeout"), manifest.get("eval_timeout_scale")
    if not isinstance(seconds, int | float):
        return None
    if not isinstance(scale, int | float):
        return duration(seconds)
    return f"{duration(seconds * scale)} (eval_timeout {seconds:g} s x {scale:g})"


def memory_limit(manifest: Manifest) -> str | None:
    """The memory limit of a program."""
    megabytes = manifest.get("config", {}).get("eval_memory_mb")
    what = "memory" if manifest.get("toolchains") else "address space"
    return f"{megabytes:,} MB of {what}" if isinstance(megabytes, int) else None


def missing_layers(manifest: Manifest) -> str | None:
    """The unavailable layers of the sandbox with reasons; None if all are available."""
    return "; ".join(f"{layer}: {why}" for layer, why in manifest.get("sandbox_missing", {}).items()) or None


def judging(manifest: Manifest) -> str:
    """The limits and the sandbox of judged programs, in one line."""
    limits = " and ".join(limit for limit in (time_limit(manifest), memory_limit(manifest)) if limit)
    missing = manifest.get("sandbox_missing", {})
    if manifest.get("config", {}).get("sandbox", {}).get("mode") == "none":
        sandbox = "no sandbox"
    else:
        sandbox = f"sandbox without {', '.join(missing)}" if missing else "sandbox with all layers"
    return f"{limits} per program; {sandbox}" if limits else sandbox


def _replies(manifest: Manifest) -> list[tuple[str, str | None]]:
    return [("replies", replies(manifest)), ("generation settings", UNKNOWN)]


def _judging(manifest: Manifest) -> list[tuple[str, str | None]]:
    return [
        ("time limit", time_limit(manifest)), ("memory limit", memory_limit(manifest)),
        ("toolchains", ", ".join(manifest.get("toolchains", {}).values()) or None),
        ("sandbox", manifest.get("sandbox")), ("sandbox layers missing", missing_layers(manifest)),
    ]  # fmt: skip


def _generation(manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    config, prompts = manifest.get("config", {}), manifest.get("prompts", {})
    unused = SAMPLED if config.get("do_sample") is False else ()
    if config.get("weights") is not None:
        unused = (*unused, "load_in_4bit")
    if config.get("fleet") == "endpoint":
        unused = (*unused, "load_in_4bit", "batch_size")  # the servers decide
    for key in GENERATION:
        if key in config and key not in unused:
            shown = _by_agents(manifest, key, prompts.get(key, config[key]))
            if key not in SHOWN_IF_SET or shown not in NOT_SET:
                yield key, shown
    budget = config.get("thinking", {}).get("budget_tokens")
    yield "thinking budget", None if budget is None else f"{budget:,} tokens"


def _by_agents(manifest: Manifest, key: str, usual: object) -> str:
    """The value of a setting, or the values of the agents if they override it."""
    name = OWN.get(key, key if key in (*SAMPLED, *PENALTIES, "system_prompt") else "")
    own = (agent.get(name) if name else None for agent in manifest.get("agents", []))
    values = list(dict.fromkeys(str(usual if value is None else value) for value in own)) or [str(usual)]
    if len(values) == 1:
        return values[0]
    more = f", and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return f"{', '.join(values[:MOST_VALUES])}{more} (agents differ)"
