"""A real vLLM server with a reasoning parser and drafts: what it gets, its thoughts, and its counts."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from swarmeval.requests import Message, Reply, Request, Sampling, Speculation, Thinking
from swarmeval.workers.endpoint.body import RequestFormat
from swarmeval.workers.endpoint.client import Key
from swarmeval.workers.endpoint.fleet import EndpointFleet
from tests.support import tiny_thinker
from tests.support.command_line import agent_results, swarmeval
from tests.support.endpoint_worker import endpoint_options
from tests.support.fleet_contract import collect
from tests.support.vllm_server import needs_vllm, vllm_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_vllm]

DRAFTS = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 1}
BUDGET = 12
THINKS = Request(
    "thinks", 1, Sampling(40, do_sample=False), messages=(Message("user", "hi"),), marks=True,
    thinking=Thinking("<think>", "</think>", BUDGET), template_kwargs={"think": True},
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_thinker.save(tmp_path_factory.mktemp("thinker")))


@pytest.fixture(scope="module")
def url(model: str) -> Iterator[str]:
    words = "--dtype", "float32", "--reasoning-parser", "deepseek_r1", "--trust-request-chat-template"
    with vllm_server(model, *words, "--speculative-config", json.dumps(DRAFTS)) as url:
        yield url


def answered(url: str, *requests: Request, template: str | None = None) -> tuple[dict[str, Reply], Speculation | None]:
    """The server's replies, and its counts of drafts."""
    sent = RequestFormat("tiny", "vllm", {}, chat_template=template)
    # One at a time: with drafts on a CPU, vLLM 0.32 may put the forced end of a thought into another reply.
    options = endpoint_options(1, 120.0, 120.0, start_s=120.0, key=Key("A_KEY", "sk-planted"), request_format=sent)

    async def go() -> tuple[dict[str, Reply], Speculation | None]:
        async with EndpointFleet([url], options) as fleet:
            worker = fleet.workers[0]
            await worker.start()
            answers = await collect(worker, list(requests))
            await worker.stop()
            return {
                answer.job_id: answer for answer in answers if isinstance(answer, Reply)
            }, worker.progress.speculation

    return asyncio.run(go())


def test_thoughts_and_their_budget_pass_through_the_server(url: str) -> None:
    begun = replace(THINKS, job_id="begun", prefill="<think>Okay", template_kwargs={})
    free = replace(THINKS, job_id="free", thinking=Thinking("<think>", "</think>"))
    replies, drafts = answered(url, THINKS, begun, free)
    for name in ("thinks", "begun"):
        assert replies[name].reasoning
        assert replies[name].text
        assert "</think>" not in replies[name].reasoning + replies[name].text
        assert (replies[name].output_tokens, replies[name].finish_reason) == (40, "length")
    assert replies["free"].text == ""  # this model ends its answer within the thought
    assert replies["free"].reasoning.startswith(replies["thinks"].reasoning)
    assert replies["begun"].prompt_tokens == replies["thinks"].prompt_tokens - len("\n") + len("Okay")
    assert {reply.reasoning_tokens for reply in replies.values()} == {None}  # the server reports 0
    assert drafts is not None
    assert drafts.draft_tokens is not None
    assert 0 < drafts.accepted_tokens < drafts.draft_tokens


def test_a_template_of_ours_reaches_the_server(url: str) -> None:
    template = tiny_thinker.TEMPLATE.replace("{% if think %}", "{% if true %}")
    plain = replace(THINKS, template_kwargs={})
    replies, _ = answered(url, plain, template=template)
    expected, _ = answered(url, THINKS)
    assert replies["thinks"].text == expected["thinks"].text
    assert replies["thinks"].reasoning == expected["thinks"].reasoning


def run(folder: Path, *settings: str) -> list[dict[str, Any]]:
    """The results of the one agent of a run. Characters that the limit cut, which servers leave out, are removed."""
    code, out, err = swarmeval(
        "--config", "config/smoke.yaml", "--num_tasks", "2", "--num_agents", "1", "--output_dir", str(folder),
        "--set", "do_sample=false", "max_new_tokens=40", "chat_template_kwargs={think: true}",
        "system_prompt=Be brief.", "eval_timeout_scale=1", *settings, env={"A_KEY": "sk-planted"},
    )  # fmt: skip
    assert code == 0, out + err
    lines = agent_results(folder, 0)
    return [line | {key: line[key].rstrip("\ufffd") for key in ("reply", "reasoning")} for line in lines]


def test_a_run_keeps_the_thoughts_and_the_acceptance_of_the_server(url: str, model: str, tmp_path: Path) -> None:
    budget = f"thinking.budget_tokens={BUDGET}"
    where = ("model_id=tiny", "fleet=endpoint", f"endpoint.urls=[{url}]", "endpoint.key_env=A_KEY")
    served = run(tmp_path / "served", *where, "endpoint.concurrency=1", budget)
    # The server counts the newline that the template puts after the marker.
    local = run(tmp_path / "local", f"model_id={model}", "weights=fp32", f"thinking.budget_tokens={BUDGET - 1}")
    for ours, theirs in zip(local, served, strict=True):
        assert ours["reasoning"]
        assert theirs["reasoning"] == ours["reasoning"].replace("<think>", "")  # vLLM's parser drops it everywhere
        assert theirs["reply"] == ours["reply"]
    score = json.loads((tmp_path / "served" / "score.json").read_text())
    assert 0 < score["speculation"]["acceptance_rate"] < 1
