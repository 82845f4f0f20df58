"""Inspects a model without loading its weights: chat template, special tokens, memory needs.

    python -m swarmeval.doctor.model_probe < REQUEST.json      (reads a ProbeRequest, prints a ModelCard)

`doctor` runs it as a separate process, so that it does not import transformers itself.
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from swarmeval.doctor.model_facts import ModelCard, ProbeRequest
from swarmeval.weight_formats import DTYPES


def probe(request: ProbeRequest) -> ModelCard:
    """Inspect a model. Raises ModelUnavailable."""
    import model_loader  # first, because it silences the messages that torch prints on import

    folder = model_loader.folder_of(request.folder)
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    from swarmeval.engine import budget
    from swarmeval.engine.text.infilling import prompt_ids
    from swarmeval.engine.text.tokens import PromptError, chat_ids

    config = model_loader.config_of(folder, request.trust_remote_code)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=request.trust_remote_code)
    mode = request.mode if request.mode != "auto" else "chat" if tokenizer.chat_template else "completion"
    fault, prompts = "", []
    try:
        if mode == "chat":
            prompts = [chat_ids(tokenizer, chat) for chat in request.chats]
        else:
            prompts = [prompt_ids(tokenizer, text, suffix) for text, suffix in request.texts]
    except PromptError as error:
        fault = str(error)
    on_gpu = getattr(torch, DTYPES.get(request.weights, "bfloat16"))
    dtype = model_loader.compute_dtype("cpu", request.weights, config) if request.device == "cpu" else on_gpu
    weight_bytes = budget.weight_bytes(folder, dtype, request.weights)
    beside_weights = sys.maxsize if request.free_bytes is None else max(0, request.free_bytes - weight_bytes)
    needs = budget.estimate(
        config, dtype, device=request.device, rows=request.rows, max_new_tokens=request.max_new_tokens,
        weight_bytes=weight_bytes, share=request.share,
        rooms=None if request.device == "cpu" else [budget.DeviceRoom(1, beside_weights)],
    )  # fmt: skip
    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:
        ends = None
    known = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    return ModelCard(
        mode=mode,
        template_fault=fault,
        begins=tokenizer.convert_ids_to_tokens(list(prompts[0][:2])) if prompts else [],
        bos=tokenizer.bos_token,
        ends=sorted(tokenizer.convert_ids_to_tokens(sorted(known))),
        pad=tokenizer.pad_token,
        longest_prompt=max(map(len, prompts), default=0),
        context_tokens=budget.context_tokens(config),
        weight_bytes=weight_bytes,
        needs=str(needs),
        rows=needs.rows,
    )


def main() -> None:
    from swarmeval.errors import UserError

    values: dict[str, Any] = json.load(sys.stdin)
    try:
        result: dict[str, object] = asdict(probe(ProbeRequest(**values)))
    except UserError as error:
        result = {"fault": str(error)}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
