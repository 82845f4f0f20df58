"""Creation of a replica from its ReplicaSpec, for every engine. Runs inside a worker."""

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarmeval.errors import DeviceError
from swarmeval.monitor.tracing.phases import Phases
from swarmeval.requests import ReplicaInfo
from swarmeval.weight_formats import QUANTIZED_HERE
from swarmeval.workers.protocol import Replica
from swarmeval.workers.replica_spec import ReplicaSpec

if TYPE_CHECKING:
    from model_loader import LoadedModel
    from swarmeval.engine.engine import Engine
    from swarmeval.engine.graphs import Recorder
    from swarmeval.engine.kernels.choice import ChosenKernels

log = logging.getLogger("swarmeval")
steps = logging.getLogger("swarmeval.loading")


def make_replica(spec: ReplicaSpec, life: int = 0, phases: Phases | None = None) -> Replica:
    """Load the replica that the spec describes. `life` counts the starts of this worker from 0.

    `phases` records the engine's phases. Raises UserError if the replica cannot be loaded.
    """
    if spec.engine == "scripted":
        from swarmeval.workers.scripted import ScriptedReplica

        return ScriptedReplica(spec.script, spec.device, life)
    if spec.engine == "vllm":
        from swarmeval.workers import vllm_replica

        return vllm_replica.load(spec, phases)
    return load_engine(spec, phases=phases)


def load_engine(spec: ReplicaSpec, share: bool = True, phases: Phases | None = None) -> "Engine":
    """Load the built-in engine with a transformers model. Without `share`, rows share no prompts (for comparisons).

    Raises UserError if it cannot be loaded.
    """
    steps.info("importing torch and transformers")
    import model_loader  # first: it silences messages that torch and related packages print at import

    folder = model_loader.folder_of(spec.model)
    from swarmeval.engine import budget, decoder_choice, graphs, recorded_draws
    from swarmeval.engine.adapters import files, lora
    from swarmeval.engine.engine import Engine
    from swarmeval.engine.out_of_memory import is_out_of_memory
    from swarmeval.engine.text import chat_template, thoughts
    from swarmeval.engine.text.infilling import fills_gaps
    from swarmeval.engine.weights import cpu_weights, footprint

    # A node of a cluster has its own copies.
    adapter_files = [files.read(name, files.located(name, source, progress=False)) for name, source in spec.adapters]
    adapter_bytes = files.total_bytes(adapter_files)
    cached = spec.device == "cpu" and spec.weight_cache != "off"
    config = model_loader.config_of(folder, spec.trust_remote_code)
    dtype = model_loader.compute_dtype(spec.device, spec.weights, config)
    plan = functools.partial(
        budget.estimate, config, dtype,
        device=spec.device, rows=spec.rows, max_new_tokens=spec.max_new_tokens, share=spec.neighbours,
        weight_bytes=budget.weight_bytes(folder, dtype, "auto" if cached else spec.weights) + adapter_bytes,
        most_prompt_tokens=spec.most_prompt_tokens,
    )  # fmt: skip
    if spec.device == "cpu":  # a GPU that is too small says so while loading
        needs = plan()
        log.info("%s: %s", spec.device, needs)
    steps.info("loading %s%s", spec.model, f", quantized to {spec.weights}" if spec.weights in QUANTIZED_HERE else "")
    loaded = model_loader.load(
        spec.model, device=spec.device, weights=spec.weights, data_parallel=spec.data_parallel,
        trust_remote_code=spec.trust_remote_code, double_quantization=spec.double_quantization,
        quantization_block=spec.quantization_block,
    )  # fmt: skip
    model = loaded.model
    chat_template.use(loaded.tokenizer, spec.chat_template, spec.chat_template_kwargs)
    steps.info("preparing the weights")
    usual = plan()
    weights, kernels = _prepared(loaded, spec, usual.row_tokens * usual.token_bytes)
    adapters = lora.attach(model, adapter_files, spec.device != "cpu") if adapter_files else lora.Adapters()
    if spec.device != "cpu":
        used = footprint.stored_bytes(model) + adapters.nbytes
        needs = plan(weight_bytes=used, rooms=budget.rooms(model))
        log.info("%s: %s", spec.device, needs)
    steps.info("choosing a decoder")
    needs = decoder_choice.within_window(model, needs)
    replays = spec.device != "cpu" and spec.cuda_graphs == "auto" and spec.data_parallel  # a graph covers one GPU only
    begin: Callable[[], Recorder] | None = functools.partial(graphs.on_cuda, model.device) if replays else None
    try:
        with adapters.everywhere(max(adapters.shifts.values())):  # decoders are checked with an adapter
            fit = decoder_choice.fitted(model, needs, kernels.native, share, begin, kernels.portable)
        if begin is not None:
            vocabulary = model.config.get_text_config().vocab_size
            begin = recorded_draws.checked(begin, vocabulary, model.device, model.dtype)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(f"no memory for {needs}; lower replica.rows or max_new_tokens") from error
    in_memory = footprint.stored_bytes(model) + cpu_weights.packed_bytes(model)
    info = ReplicaInfo(
        engine="hf",
        model=spec.model,
        device=spec.device,
        rows=needs.rows,
        max_context_tokens=needs.context_tokens,
        chat_template_sha256=model_loader.chat_template_sha256(loaded.tokenizer),
        weights=weights,
        compute_dtype=loaded.compute_dtype,
        memory_mb=(in_memory + adapters.nbytes) / 1e6,
        load_s=loaded.load_s,
        rows_mb=needs.tokens * needs.token_bytes / 1e6,
        decoding=f"{fit.name}; {'compiled kernels' if kernels.are_compiled else 'torch alone'}",
        steady=fit.steady and spec.weights != "checkpoint",  # LLM.int8() looks at all rows of a batch at once
        versions=model_loader.versions(),
        vocabulary=len(loaded.tokenizer),
        thinking=thoughts.markers_of(loaded.tokenizer),
        fills_gaps=fills_gaps(loaded.tokenizer),
        loaded_bytes_per_weight=loaded.bytes_per_weight,
        bytes_per_weight=in_memory / loaded.weight_count if loaded.weight_count else None,
    )
    return Engine(
        model,
        loaded.tokenizer,
        fit.decoder,
        info,
        kernels.native,
        phases,
        spec.share_answers == "auto",
        begin,
        adapters,
    )


def _prepared(loaded: "LoadedModel", spec: ReplicaSpec, row_bytes: int) -> "tuple[str, ChosenKernels]":
    """Unpack, join and prepack the model's weights as far as possible; describe them, and choose the kernels."""
    from swarmeval.engine.budget import MOST_ROWS
    from swarmeval.engine.kernels import choice
    from swarmeval.engine.out_of_memory import is_out_of_memory
    from swarmeval.engine.weights import cpu_weights, fused, weight_cache

    model = loaded.model
    try:
        unpacks = spec.weights in QUANTIZED_HERE or loaded.weights.startswith("nf4")
        unpacked = unpacks and weight_cache.unpack(model, spec.weight_cache, row_bytes, spec.rows, MOST_ROWS["cuda"])
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = f"{spec.device}: out of memory while unpacking the weights; set replica.weight_cache: off"
        raise DeviceError(reason) from error
    kernels = choice.chosen(model, spec.data_parallel) if spec.native_kernels == "auto" else choice.ChosenKernels()
    parts = fused.fuse(model, kernels.parts) if kernels.parts is not None else {}
    notes = [f"dequantized to {loaded.compute_dtype}"] if unpacked or loaded.is_unpacked else []
    # Of a model that keeps its quantized weights, only the head is plain, which would not be worth a note.
    is_plain = unpacked or spec.weights not in QUANTIZED_HERE
    notes += ["prepacked"] if is_plain and cpu_weights.prepack(model) else []
    notes += [f"{count} {kind} fused" for kind, count in parts.items() if count]
    return loaded.weights + (f" ({', '.join(notes)})" if notes else ""), kernels
