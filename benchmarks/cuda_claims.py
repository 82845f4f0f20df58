"""Checks of decoding to be run on a GPU. Apart from the device, any machine can run them.

`begin` is passed to graphs.Graphs: `on_cuda` on a GPU, a CPU recorder in tests.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.peers import prompt_ids
from swarmeval.engine import decoder_choice
from swarmeval.engine.engine import Engine
from swarmeval.engine.graphs import Graphs, Recorder
from swarmeval.engine.slots import SlotDecoder
from swarmeval.requests import ReplicaInfo, Reply, Request, Sampling
from tests.support import tiny_model

FAMILIES = [*tiny_model.FULL_ATTENTION, ("Gemma2", {"head_dim": 32}), ("Mistral", {"sliding_window": 8})]

Begin = Callable[[], Recorder]


@dataclass(frozen=True, slots=True)
class Check:
    """One claim and its result; `passed` is None if the result is only a figure."""

    name: str
    passed: bool | None
    found: str


def family_check(name: str, changes: dict[str, Any], device: str, begin: Begin | None) -> Check:
    """Check that a random fp32 model of this family gives the replies of `generate`, with and without `begin`."""
    model, tokenizer = tiny_model.family(name, **changes).to(device), tiny_model.tokenizer()
    sampling = Sampling(max_new_tokens=24, do_sample=False)
    requests = [Request(f"{i}", i, sampling, text="def f(x):\n" * (i // 4 % 3) + f"n{i // 4}") for i in range(16)]
    expected = {request.job_id: generated(model, tokenizer, [request])[0] for request in requests}
    room, counts = tiny_model.budget(model, 8), {}
    for recording in (begin, None) if begin else (None,):
        fit = decoder_choice.fitted(model, room, None, begin=recording)
        info = ReplicaInfo("hf", name, device, 8, room.context_tokens, None, "fp32", "fp32", 0.0, 0.0)
        texts = replies(Engine(model, tokenizer, fit.decoder, info), requests)
        counts[fit.name] = sum(
            texts.get(job) == tokenizer.decode(ids, skip_special_tokens=True) for job, ids in expected.items()
        )
    title = f"{name} {changes or ''} gives the replies of generate".replace("  ", " ")
    summary = "; ".join(f"{way}: {count} of {len(requests)}" for way, count in counts.items())
    return Check(title, all(count == len(requests) for count in counts.values()), summary)


def generated(model: Any, tokenizer: Any, requests: Sequence[Request]) -> list[list[int]]:
    """The token ids that `generate` adds to one left-padded batch, without the end-of-text token."""
    prompts = [prompt_ids(tokenizer, request) for request in requests]
    width, sampling = max(map(len, prompts)), requests[0].sampling
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    drawn = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    stated = model.generation_config.eos_token_id
    eos = stated if isinstance(stated, list) else [] if stated is None else [stated]
    rows = model.generate(
        ids,
        attention_mask=mask,
        do_sample=sampling.do_sample,
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=sampling.max_new_tokens,
        pad_token_id=eos[0] if eos else 0,
        **(drawn if sampling.do_sample else {}),
    )[:, width:].tolist()
    return [row[: next((i for i, token in enumerate(row) if token in eos), len(row))] for row in rows]


def replies(served: Engine, requests: Sequence[Request]) -> dict[str, str]:
    """The engine's replies by job id, without refused requests."""
    served.forget_answers()
    for request in requests:
        served.submit(request)
    answers = []
    while served.busy():
        answers += served.step()
    return {answer.job_id: answer.text for answer in answers if isinstance(answer, Reply)}


def logits_checks(model: Any, begin: Begin) -> list[Check]:
    """Check that every decoder gives the logits of plain decoding."""
    recorder = Graphs(begin)
    ways: dict[str, Callable[[int], SlotDecoder]] = {
        "slots": lambda rows: SlotDecoder(model, rows, share=False),
        "slots, prompts shared": lambda rows: SlotDecoder(model, rows, share=True),
        "slots, CUDA graphs": lambda rows: SlotDecoder(model, 2 * rows, share=False, step=recorder),
    }
    changed = {way: decoder_choice.difference(model, make) for way, make in ways.items()}
    name = "same logits as plain decoding: "
    checks = [
        Check(name + way, share <= decoder_choice.tolerance(model), f"differ by {share:.2g} of their norm")
        for way, share in changed.items()
    ]
    return [*checks, Check("steps can be recorded", recorder.fault is None, recorder.fault or "yes")]


def share_check(few: Engine, many: Engine, requests: Sequence[Request]) -> Check:
    """Count the sampled replies that do not depend on the number of rows; rounding changes the others."""
    few_replies, many_replies = replies(few, requests), replies(many, requests)
    equal = sum(few_replies.get(job) == text for job, text in many_replies.items())
    name = f"same replies with {few.info().rows} and {many.info().rows} rows"
    return Check(
        name, None if len(few_replies) == len(many_replies) == len(requests) else False, f"{equal} of {len(requests)}"
    )


def memory_check(served: Engine, requests: Sequence[Request], scarce: AbstractContextManager[None]) -> Check:
    """Check that the engine halves its rows and still answers all requests while memory is scarce."""
    name, before = "running out of memory halves the rows and loses no request", served.rows.most
    try:
        with scarce:
            answered = len(replies(served, requests))
    except torch.OutOfMemoryError as error:
        return Check(name, False, f"not even one row fits: {error}".splitlines()[0])
    rows = f"rows {before} -> {served.rows.most}" if served.rows.most < before else "memory never ran short"
    passed = answered == len(requests) and served.rows.most < before
    return Check(name, passed, f"{rows}, {answered} of {len(requests)} answered")
