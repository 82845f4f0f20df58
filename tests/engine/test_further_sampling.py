"""min_p, presence and frequency penalty, and logit bias, compared with the formulas of transformers and vLLM."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor
from transformers import MinPLogitsWarper, SequenceBiasLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper
from transformers import RepetitionPenaltyLogitsProcessor as RepetitionPenalty

from swarmeval.engine.sampler import Choice, Sampler
from swarmeval.requests import Refusal, Request, Sampling
from tests.support.graph_recorder import Tape
from tests.support.tiny_engine import GREEDY, TOKENIZER, WARM, answer, engine, finish, requests, texts

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
PROMPT, OUTPUT = [3, 9, 9], [5, 5, 7, 3]
POINTS = 1024
BIASES = st.lists(st.tuples(st.integers(0, 63), st.floats(-9, 9)), max_size=3, unique_by=lambda bias: bias[0]).map(
    tuple
)


def logits_of(seed: int, vocabulary: int = 64) -> Tensor:
    return torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


def choice(**changes: object) -> Choice:
    plain = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    return Choice(**(plain | changes))  # type: ignore[arg-type]


def frequencies(logits: Tensor, made: Choice) -> Tensor:
    """Frequencies of tokens drawn after PROMPT and OUTPUT, under evenly spaced uniforms: [vocabulary]."""
    sampler = Sampler(2, CPU)
    sampler.admit(PROMPT + OUTPUT[:-1], len(PROMPT))
    sampler.append(OUTPUT[-1:])
    uniforms = [(point + 0.5) / POINTS for point in range(POINTS)]
    tokens, _ = sampler.choose(logits, 0, [(0, made)], [0] * POINTS, uniforms)
    return torch.bincount(torch.tensor(tokens), minlength=logits.shape[1]) / POINTS


def adjusted(logits: Tensor, made: Choice) -> Tensor:
    """transformers' bias and repetition penalty, then vLLM's penalties (vllm/model_executor/layers/utils.py)."""
    if made.logit_bias:
        logits = SequenceBiasLogitsProcessor({(token,): float(bias) for token, bias in made.logit_bias})(
            torch.tensor([PROMPT + OUTPUT]), logits.clone()
        )
    logits = RepetitionPenalty(made.repetition_penalty)(torch.tensor([PROMPT + OUTPUT]), logits)
    counts = torch.bincount(torch.tensor(OUTPUT), minlength=logits.shape[1])
    return logits - made.frequency_penalty * counts - made.presence_penalty * (counts > 0)


def reference(logits: Tensor, made: Choice) -> Tensor:
    scores = TemperatureLogitsWarper(made.temperature)(None, adjusted(logits, made))
    if made.top_p < 1:
        scores = TopPLogitsWarper(made.top_p)(None, scores)
    if made.min_p:
        scores = MinPLogitsWarper(made.min_p)(None, scores)
    chances: Tensor = scores.softmax(dim=-1)[0]
    return chances


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([64, 300]),  # within the window of best tokens, and beyond it
    temperature=st.sampled_from([0.7, 1.0]),
    top_p=st.sampled_from([0.5, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    repetition=st.sampled_from([1.0, 1.3]),
    presence=st.sampled_from([0.0, 1.5, -2.0]),
    frequency=st.sampled_from([0.0, 0.7]),
    bias=BIASES,
)
def test_every_token_is_drawn_as_often_as_the_formulas_say(
    seed: int, vocabulary: int, temperature: float, top_p: float, min_p: float,
    repetition: float, presence: float, frequency: float, bias: tuple[tuple[int, float], ...],
) -> None:  # fmt: skip
    logits = logits_of(seed, vocabulary)
    made = choice(
        temperature=temperature, top_p=top_p, min_p=min_p, repetition_penalty=repetition,
        presence_penalty=presence, frequency_penalty=frequency, logit_bias=bias,
    )  # fmt: skip
    assert torch.allclose(frequencies(logits, made), reference(logits, made).float(), atol=2 / POINTS)


def test_greedy_rows_obey_penalties_and_bias() -> None:
    logits = torch.zeros(1, 64)
    logits[0, 5], logits[0, 9] = 4.0, 3.5
    greedy = choice(do_sample=False, top_k=1)
    sampler = Sampler(2, CPU)
    sampler.admit(PROMPT + OUTPUT, len(PROMPT))

    def best(**changes: object) -> int:
        made = Choice(**{name: getattr(greedy, name) for name in Choice.__slots__} | changes)
        return sampler.choose(logits, 0, [(0, made)], [0], [0.0])[0][0]

    assert [best(), best(presence_penalty=1.0), best(frequency_penalty=0.3)] == [5, 9, 9]  # 5 is in the output, 9 not
    assert best(logit_bias=((20, 100.0),)) == 20
    assert best(logit_bias=((5, -100.0), (9, -100.0))) not in (5, 9)


def test_rows_without_these_settings_draw_as_if_alone() -> None:
    logits = logits_of(1).expand(3, -1)
    together, alone = Sampler(4, CPU), Sampler(4, CPU)
    for _ in range(3):
        together.admit(PROMPT + OUTPUT, len(PROMPT))
    alone.admit(PROMPT + OUTPUT, len(PROMPT))
    rare = choice(min_p=0.3, presence_penalty=2.0, logit_bias=((3, 9.0),))
    groups = [(0, choice()), (1, rare), (2, choice(top_k=5))]
    tokens, _ = together.choose(logits, 0, groups, range(3), [0.4, 0.4, 0.4])
    found = [alone.choose(logits[:1], 0, [(0, made)], [0], [0.4])[0][0] for _, made in groups]
    assert tokens == found


@pytest.mark.slow
def test_replies_do_not_depend_on_what_is_shared() -> None:
    rare = replace(WARM, min_p=0.05, presence_penalty=0.5, frequency_penalty=0.3, logit_bias=((40, 3.0),))
    jobs = requests(12, rare, agents=6)
    alone = texts(engine(1, share_answers=False), jobs)
    assert texts(engine(8), jobs) == alone
    assert alone != texts(engine(1), requests(12, WARM, agents=6))


@pytest.mark.slow
def test_recorded_draws_give_the_tokens_of_plain_ones() -> None:
    jobs = requests(4, replace(WARM, min_p=0.1)) + [
        replace(job, job_id=f"9{job.job_id}") for job in requests(4, replace(WARM, presence_penalty=1.0))
    ]
    assert texts(engine(8, begin=Tape().begin), jobs) == texts(engine(8), jobs)


@pytest.mark.slow
def test_a_bias_for_an_unknown_token_refuses_the_request() -> None:
    made = engine(1)
    made.submit(Request("0/t/0/0", 0, Sampling(4, logit_bias=((len(TOKENIZER), 1.0),)), text="x"))
    assert finish(made) == [
        Refusal("0/t/0/0", f"logit_bias names token {len(TOKENIZER)}; the model has {len(TOKENIZER)} tokens", False)
    ]
    assert answer(made, requests(1, GREEDY))  # and the replica works on
