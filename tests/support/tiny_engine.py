"""Engines with a tiny random model, requests for them, and the same answers by transformers' generate."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from swarmeval.engine import decoder_choice
from swarmeval.engine.adapters.lora import Adapters
from swarmeval.engine.engine import Engine
from swarmeval.engine.graphs import Recorder
from swarmeval.engine.kernels import choice
from swarmeval.requests import Answer, ReplicaInfo, Reply, Request, Sampling
from tests.support import tiny_model

MODEL = tiny_model.model()
TOKENIZER = tiny_model.tokenizer()
GREEDY = Sampling(max_new_tokens=24, do_sample=False)
WARM = Sampling(max_new_tokens=24, temperature=0.8, top_p=0.95, top_k=40, repetition_penalty=1.1)


def engine(
    rows: int,
    model: Any = MODEL,
    decoder: Any = None,
    compiled: bool = True,
    share_answers: bool = True,
    begin: Callable[[], Recorder] | None = None,
    adapters: Adapters | None = None,
    tokenizer: Any = TOKENIZER,
) -> Engine:
    info = ReplicaInfo(
        engine="hf",
        model="tiny",
        device="cpu",
        rows=rows,
        max_context_tokens=model.config.max_position_embeddings,
        chat_template_sha256=None,
        weights="fp32",
        compute_dtype="fp32",
        memory_mb=0.0,
        load_s=0.0,
    )
    kernels = choice.native_kernels(model.dtype) if compiled else None
    return Engine(
        model,
        tokenizer,
        decoder or decoder_choice.fitted(model, tiny_model.budget(model, rows), kernels).decoder,
        info,
        kernels,
        share_answers=share_answers,
        begin=begin,
        adapters=adapters,
    )


def requests(count: int, sampling: Sampling = GREEDY, agents: int = 2) -> list[Request]:
    """Requests with prompts of different lengths, each from this many agents."""
    return [
        Request(f"{i}/t/0/0", i * 7919, sampling, text="def f(x):\n" * (i // agents % 4) + f"n{i // agents}")
        for i in range(count)
    ]


def finish(engine: Engine) -> list[Answer]:
    answers = []
    while engine.busy():
        answers += engine.step()
    return answers


def answer(engine: Engine, batch: Sequence[Request]) -> dict[str, Reply]:
    for request in batch:
        engine.submit(request)
    answers = finish(engine)
    assert len(answers) == len(batch)
    return {reply.job_id: reply for reply in answers if isinstance(reply, Reply)}


def texts(engine: Engine, batch: Sequence[Request]) -> dict[str, str]:
    return {job_id: reply.text for job_id, reply in answer(engine, batch).items()}


def streamed(engine: Engine, batch: Sequence[Request]) -> tuple[dict[str, str], dict[str, str]]:
    """The text that was streamed of each request, and the texts of the replies."""
    sent: dict[str, str] = {}
    replies: dict[str, str] = {}
    for request in batch:
        engine.submit(request)
    while engine.busy():
        replies |= {reply.job_id: reply.text for reply in engine.step() if isinstance(reply, Reply)}
        for piece in engine.pieces():
            sent[piece.job_id] = sent.get(piece.job_id, "") + piece.text
    return sent, replies


def generated(request: Request, model: Any = MODEL, tokenizer: Any = TOKENIZER) -> str:
    """The answer of transformers' generate to one request."""
    ids = torch.tensor([tokenizer(request.text)["input_ids"]])
    sampling = request.sampling
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        num_beams=sampling.num_beams,
        max_new_tokens=sampling.max_new_tokens,
        repetition_penalty=sampling.repetition_penalty,
        pad_token_id=1,
    )
    return str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))
