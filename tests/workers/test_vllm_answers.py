"""The real vLLM answers a tiny model's requests like the built-in engine: thoughts, budgets, prefills, marks."""

import asyncio
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from swarmeval.errors import ModelUnavailable
from swarmeval.requests import Answer, Message, Refusal, Reply, Request, Sampling, Speculation, Thinking
from swarmeval.workers import vllm_support
from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import tiny_thinker
from tests.support.fleet_contract import collect

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason=f"vLLM is not installed ({vllm_support.INSTALL})"
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_vllm]

THINKING = Thinking("<think>", "</think>", 12)
SYSTEM, USER = Message("system", "Be brief."), Message("user", "hi")
GREEDY = Sampling(40, do_sample=False)
CHAT = Request("", 1, GREEDY, messages=(USER,), thinking=THINKING, marks=True)
THINKS = replace(CHAT, template_kwargs={"think": True})
REQUESTS = [
    replace(THINKS, job_id="thinks"),
    replace(THINKS, job_id="thinks without a limit", thinking=replace(THINKING, budget_tokens=None)),
    replace(THINKS, job_id="thinks no more", thinking=replace(THINKING, budget_tokens=0)),
    replace(CHAT, job_id="answers at once"),
    replace(CHAT, job_id="goes on with a thought", prefill="<think>Okay"),
    replace(CHAT, job_id="goes on with an answer", prefill="Sure: "),
    replace(THINKS, job_id="has a system prompt", messages=(SYSTEM, USER)),
    replace(THINKS, job_id="stops", sampling=replace(GREEDY, stop=("*", "S"))),
    replace(CHAT, job_id="is biased", sampling=replace(GREEDY, logit_bias=((40, 9.0),), frequency_penalty=1.0)),
]  # fmt: skip
DRAFTS = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_thinker.save(tmp_path_factory.mktemp("thinker")))


def answered(
    model: str, requests: list[Request], engine: Any = "vllm", **vllm_args: Any
) -> tuple[dict[str, Answer], Speculation | None]:
    """The answers of a worker with this engine, and its counts of drafts."""
    spec = ReplicaSpec(
        engine, model, "cpu", "fp32", "auto", "auto", "off", True, 4, 40, thinking=THINKING,
        chat_template_kwargs={"think": True}, vllm_args=vllm_args,
    )  # fmt: skip
    env = {"CUDA_VISIBLE_DEVICES": "", "VLLM_CPU_KVCACHE_SPACE": "1"}

    async def go() -> tuple[dict[str, Answer], Speculation | None]:
        async with LocalFleet([DeviceSpec("cpu:0", "cpu", env=env)], [spec], silence_s=300.0, load_s=600.0) as fleet:
            worker = fleet.workers[0]
            await worker.start()
            answers = {answer.job_id: answer for answer in await collect(worker, requests)}
            await worker.stop()
            return answers, worker.progress.speculation

    return asyncio.run(go())


def facts(answers: dict[str, Answer]) -> Iterator[tuple[Any, ...]]:
    """The parts of replies in which two engines must agree."""
    for job_id, reply in sorted(answers.items()):
        assert isinstance(reply, Reply), reply
        counts = reply.prompt_tokens, reply.output_tokens, reply.reasoning_tokens, reply.finish_reason
        yield job_id, reply.reasoning, reply.text, counts, reply.marks


def test_vllm_answers_like_the_built_in_engine(model: str) -> None:
    ours, _ = answered(model, REQUESTS, engine="hf")
    asked = [*REQUESTS, replace(CHAT, job_id="rejected", sampling=replace(GREEDY, presence_penalty=3.0))]
    found, drafts = answered(model, asked)
    refusal = found.pop("rejected")
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("vLLM rejects the request: ")
    assert list(facts(found)) == list(facts(ours))
    thinks = found["thinks"]
    assert isinstance(thinks, Reply)
    assert thinks.reasoning_tokens == 12 + 1  # the end marker is a token
    assert thinks.text
    assert drafts is None


def test_with_drafts_the_answers_are_the_same_and_the_accepted_are_counted(model: str) -> None:
    free = [replace(request, thinking=Thinking("<think>", "</think>")) for request in REQUESTS]
    ours, _ = answered(model, free, engine="hf")
    refused = {
        "is biased": "vLLM rejects the request: The min_p and logit_bias sampling parameters are not yet supported",
        "samples": "vLLM 0.32 loses temperature, top_k and top_p",
        "has a limit": "vLLM 0.32 may end a thought in the wrong reply",
    }
    asked = [*free, replace(free[0], job_id="samples", sampling=Sampling(8)), replace(THINKS, job_id="has a limit")]
    found, drafts = answered(model, asked, speculative_config=DRAFTS)
    for job_id, reason in refused.items():
        refusal = found.pop(job_id)
        assert isinstance(refusal, Refusal)
        assert refusal.reason.startswith(reason)
    assert list(facts(found)) == list(facts({job_id: ours[job_id] for job_id in found}))
    assert drafts is not None
    assert drafts.draft_tokens is not None
    assert 0 < drafts.accepted_tokens < drafts.draft_tokens <= 4 * drafts.verifications


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"kv_cache_type": "fp8"},
            "vllm.args.kv_cache_type is not an argument of vLLM's engine; did you mean 'kv_cache_dtype'?",
        ),
        (
            {"block_size": "wide"},
            "MODEL: vLLM cannot serve it (CacheConfig.block_size: "
            "Input should be a valid integer, unable to parse string as an integer)",
        ),
    ],
)
def test_arguments_that_vllm_rejects_end_a_worker_in_one_line(
    model: str, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        answered(model, [], **arguments)
    assert str(caught.value).replace(model, "MODEL") == f"cpu:0: {reason}"
