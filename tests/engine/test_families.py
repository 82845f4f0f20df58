"""Greedy replies equal those of `generate`, token for token, in every family, with any rows, order and batch."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from benchmarks.comparing import Ids, ids_of, letters
from swarmeval.requests import Answer, Reply, Request, Sampling
from tests.support import tiny_model
from tests.support.tiny_engine import TOKENIZER, engine, finish

TOKENS = 20  # in the longest reply
pytestmark = pytest.mark.usefixtures("one_thread")
EOS = 1
CODE = "def f(x):\n    return g(x)\n" * 8
PROMPTS = (
    "a",
    CODE[:5],
    CODE[:5] + "ault",  # shares a prefix with the previous one
    CODE[:27],
    CODE[:27] + "# 1",
    CODE[:140],  # fills more than the first block of a slot
    CODE[:140] + "z",
    "Another beginning.",
)

FAMILIES = tiny_model.FULL_ATTENTION + tiny_model.GPT_OSS

Job = tuple[int, int]  # index of a prompt, number of tokens


@cache
def model(number: int) -> Any:
    name, changes = FAMILIES[number]
    return tiny_model.family(name, **changes)


@cache
def generated(number: int, prompt: int) -> Ids:
    """The tokens of transformers' generate for one prompt, including the end-of-text token."""
    ids = torch.tensor([TOKENIZER(PROMPTS[prompt])["input_ids"]])
    output = model(number).generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0
    )
    return tuple(output[0, ids.shape[1] :].tolist())


def answered(number: int, rows: int, jobs: Sequence[Job], late: int, steps: int) -> list[Ids]:
    """The engine's tokens for each job. The last `late` jobs are submitted after `steps` steps."""
    made = engine(rows, model(number))
    requests = [
        Request(f"{k}/t/0/0", k, Sampling(max_new_tokens=tokens, do_sample=False), text=PROMPTS[prompt])
        for k, (prompt, tokens) in enumerate(jobs)
    ]
    answers: list[Answer] = []
    with letters(TOKENIZER):
        for request in requests[: len(jobs) - late]:
            made.submit(request)
        for _ in range(steps):
            answers += made.step()
        for request in requests[len(jobs) - late :]:
            made.submit(request)
        answers += finish(made)
    replies = {answer.job_id: answer for answer in answers if isinstance(answer, Reply)}
    found = [replies[request.job_id] for request in requests]
    return [ids_of(reply) + (EOS,) * (reply.finish_reason == "stop") for reply in found]


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[Job], int]:
    """Jobs, grouped by prompt or in any order, and how many of the last are submitted late."""
    groups = st.tuples(st.integers(0, len(PROMPTS) - 1), st.lists(st.integers(1, TOKENS), min_size=1, max_size=5))
    jobs = [(prompt, tokens) for prompt, agents in draw(st.lists(groups, min_size=1, max_size=5)) for tokens in agents]
    if draw(st.booleans()):
        jobs = draw(st.permutations(jobs))
    return jobs, draw(st.integers(0, len(jobs)))


every_family = pytest.mark.parametrize(
    "number",
    range(len(FAMILIES)),
    ids=lambda number: f"{FAMILIES[number][0]}-{number}",
)


@pytest.mark.slow
@every_family
@settings(deadline=None, max_examples=8, phases=[Phase.reuse, Phase.generate])  # shrinking takes minutes
@given(rows=st.integers(1, 9), wanted=asked(), steps=st.integers(0, 9))
def test_replies_are_those_of_generate(number: int, rows: int, wanted: tuple[list[Job], int], steps: int) -> None:
    jobs, late = wanted
    expected = [generated(number, prompt)[:tokens] for prompt, tokens in jobs]
    assert answered(number, rows, jobs, late, steps) == expected


@pytest.mark.slow
@every_family
def test_replies_of_generate_depend_on_prompt_and_position(number: int) -> None:
    """Without this, the test above would prove little."""
    texts = {generated(number, prompt) for prompt in range(len(PROMPTS))}
    assert len(texts) == len(PROMPTS)
    assert max(len(set(text)) for text in texts) > TOKENS // 2
