"""From a ReplicaSpec to a replica ready to answer. Runs inside a worker; knows every engine by name."""

from typing import TYPE_CHECKING

from workers.protocol import Replica, ReplicaInfo
from workers.replica_spec import ReplicaSpec

if TYPE_CHECKING:
    from workers.engine import Engine


def make_replica(spec: ReplicaSpec, life: int = 0) -> Replica:
    """Load what the spec names and give it as a replica; `life` counts the starts of this worker.

    Raises UserError when it cannot be loaded here.
    """
    if spec.engine == "scripted":
        from workers.scripted import ScriptedReplica

        return ScriptedReplica(spec.script, spec.device, life)
    return load_engine(spec)


def load_engine(spec: ReplicaSpec) -> "Engine":
    """The engine over a transformers model. Raises UserError when it cannot be loaded here."""
    import model_loader  # first: it silences what torch and its friends print when they are imported

    loaded = model_loader.load(
        spec.model, device=spec.device, load_in_4bit=spec.load_in_4bit, data_parallel=spec.data_parallel
    )
    from workers import budget, cpu_weights, fit
    from workers.engine import Engine

    weights = loaded.weights
    if spec.device == "cpu" and spec.cpu_kernel == "cached":
        cpu_weights.dequantize(loaded.model)
        packed = cpu_weights.prepack(loaded.model)
        notes = ([f"dequantized to {loaded.compute_dtype}"] if weights == "nf4" else []) + ["prepacked"] * bool(packed)
        weights += f" ({', '.join(notes)})" if notes else ""
    context_tokens = budget.context_tokens(loaded.model, loaded.tokenizer)
    info = ReplicaInfo(
        engine="hf",
        model=spec.model,
        device=spec.device,
        rows=spec.rows or budget.auto_rows(loaded.model, spec.device, spec.max_new_tokens, context_tokens),
        max_context_tokens=context_tokens,
        chat_template_sha256=model_loader.chat_template_sha256(loaded.tokenizer),
        weights=weights,
        compute_dtype=loaded.compute_dtype,
        memory_mb=model_loader.memory_mb(loaded.model) + cpu_weights.packed_mb(loaded.model),
        load_s=loaded.load_s,
        versions=model_loader.versions(),
    )
    return Engine(loaded.model, loaded.tokenizer, fit.decoder(loaded.model, info.rows), info)
