"""How fast agents x tasks are answered: our engine beside its peers, on the same weights, prompts and settings.

    python benchmarks/throughput.py [--tasks N] [--agents N] [--tokens N] [--rows N] [--stops] [--only abcfg] [--json F]

Contestants: (a) ours, NF4; (b) `generate`, NF4, static batches of 8, the documented method; (c) `generate`, bf16,
static batches of 64; (f) the floor: the linear layers and the head alone, at our number of rows; (g) ours, where every
row keeps the keys and values of its prompt to itself. All run in one process, in turn, round after round, since the
speed of a machine drifts; only ratios mean anything. Slow peers answer some batches only, spread evenly over the
work: see `tokens`. Without --stops the end-of-text token is ignored, so that every reply has exactly --tokens tokens.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import model_loader  # first: it silences what torch and its friends print when they are imported

model_loader.quiet()
import torch
from torch.nn import functional

from bench.plan import Plan, make_agents
from bench.prompts import make_request
from bench.settings import RunConfig
from human_eval_runner import load_tasks
from workers import tokens
from workers.engine import Engine
from workers.protocol import Reply, Request
from workers.replica import load_engine
from workers.replica_spec import ReplicaSpec

NAMES = {
    "a": "ours, NF4",
    "b": "generate, NF4, batches of 8",
    "c": "generate, bf16, batches of 64",
    "d": "transformers continuous batching",
    "e": "vLLM",
    "f": "floor: linear layers and head alone",
    "g": "ours, NF4, sharing off",
}
FLOOR_STEPS = 30


@dataclass(frozen=True, slots=True)
class Spent:
    """What one contestant did in one round."""

    tokens: int
    seconds: float


Contestant = Callable[[], Spent]


@contextmanager
def endless(model: Any, tokenizer: Any, stops: bool) -> Iterator[None]:
    """Without `stops`, nothing ends a text while this is open."""
    held = model.generation_config.eos_token_id, tokenizer.eos_token
    if not stops:
        model.generation_config.eos_token_id, tokenizer.eos_token = None, None
    yield
    model.generation_config.eos_token_id, tokenizer.eos_token = held


def ours(made: Engine, requests: list[Request]) -> Spent:
    began = time.perf_counter()
    answers = []
    for request in requests:
        made.submit(request)
    while made.busy():
        answers += made.step()
    replies = [answer for answer in answers if isinstance(answer, Reply)]
    if len(replies) != len(requests):
        raise RuntimeError(f"{len(requests) - len(replies)} requests were refused: {answers}")
    return Spent(sum(reply.output_tokens for reply in replies), time.perf_counter() - began)


def static(model: Any, tokenizer: Any, requests: list[Request], size: int, batches: int) -> Spent:
    """`generate` over left-padded batches, as many of them as asked for, spread evenly."""
    starts = range(0, len(requests), size)
    chosen = [starts[i * len(starts) // batches] for i in range(min(batches, len(starts)))]
    count, seconds = 0, 0.0
    for start in chosen:
        began = time.perf_counter()
        count += generate(model, tokenizer, requests[start : start + size])
        seconds += time.perf_counter() - began
    return Spent(count, seconds)


def generate(model: Any, tokenizer: Any, requests: list[Request]) -> int:
    """The tokens that `generate` adds to one batch, those after the end of a text left out."""
    prompts = [prompt_ids(tokenizer, request) for request in requests]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    sampling, eos = requests[0].sampling, model.generation_config.eos_token_id
    torch.manual_seed(requests[0].seed % 2**31)
    output = model.generate(
        ids,
        attention_mask=mask,
        do_sample=sampling.do_sample,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=sampling.max_new_tokens,
        pad_token_id=0 if eos is None else eos,
    )[:, width:]
    return sum(row.index(eos) if eos in row else len(row) for row in output.tolist())


def prompt_ids(tokenizer: Any, request: Request) -> tuple[int, ...]:
    if request.text is not None:
        return tokens.text_ids(tokenizer, request.text)
    return tokens.chat_ids(tokenizer, [{"role": m.role, "content": m.content} for m in request.messages])


def floor(model: Any, rows: int) -> Contestant:
    """Every linear layer of a bf16 model once a step, packed where this machine can, and nothing else."""
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {m.in_features: torch.randn(rows, m.in_features).to(m.weight.dtype) for m in linears}
    calls = [(inputs[m.in_features], packed(m)) for m in linears]

    @torch.inference_mode()
    def run() -> Spent:
        began = time.perf_counter()
        for _ in range(FLOOR_STEPS):
            for values, call in calls:
                call(values)
        return Spent(FLOOR_STEPS * rows, time.perf_counter() - began)

    return run


def packed(linear: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """The layer over weights laid out for oneDNN; the plain layer where that does not work."""
    weight, bias = linear.weight.detach(), linear.bias
    try:
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight)
        torch.ops.mkldnn._linear_pointwise(weight[:1], laid_out, bias, "none", [], "")
    except RuntimeError:
        return lambda values: functional.linear(values, weight, bias)
    return lambda values: torch.ops.mkldnn._linear_pointwise(values, laid_out, bias, "none", [], "")


def contestants(options: argparse.Namespace) -> dict[str, Contestant]:
    """Those asked for, loaded and ready."""
    config = RunConfig(
        model_id=options.model, device="cpu", num_agents=options.agents, max_new_tokens=options.tokens, batch_size=8
    )
    folder = model_loader.locate(config.model_id)
    plan = Plan(make_agents(config), load_tasks(options.tasks))
    made = load_engine(replica_spec(folder, options))
    mode = "chat" if made.tokenizer.chat_template else "completion"
    requests = [make_request(plan, k, mode, config) for k in range(plan.total)]
    rows = made.info().rows
    print(
        f"{options.tasks} tasks x {options.agents} agents x {options.tokens} tokens, {rows} rows, {made.info().weights}"
    )
    found: dict[str, Contestant] = {}
    with endless(made.model, made.tokenizer, options.stops):
        made._eos = frozenset() if not options.stops else made._eos
        unshared = load_engine(replica_spec(folder, options), share=False)
        unshared._eos = made._eos
    found["a"] = lambda: ours(made, requests)
    found["g"] = lambda: ours(unshared, requests)
    for letter, four_bit, size, batches in (("b", True, 8, options.b_batches), ("c", False, 64, options.c_batches)):
        if letter in options.only:
            found[letter] = peer(folder, four_bit, requests, size, batches, options.stops)
    if "f" in options.only:
        found["f"] = floor(model_loader.load(folder, device="cpu", load_in_4bit=False).model, rows)
    return {letter: found[letter] for letter in sorted(found) if letter in options.only}


def replica_spec(folder: str, options: argparse.Namespace) -> ReplicaSpec:
    return ReplicaSpec("hf", folder, "cpu", True, "cached", "auto", "off", True, options.rows, options.tokens)


def peer(folder: str, four_bit: bool, requests: list[Request], size: int, batches: int, stops: bool) -> Contestant:
    loaded = model_loader.load(folder, device="cpu", load_in_4bit=four_bit)

    def run() -> Spent:
        with endless(loaded.model, loaded.tokenizer, stops):
            return static(loaded.model, loaded.tokenizer, requests, size, batches)

    return run


def show(rounds: list[dict[str, Spent]]) -> None:
    """The table: medians, and how they compare with ours."""
    rates = {x: statistics.median(r[x].tokens / r[x].seconds for r in rounds) for x in rounds[0]}
    print(f"\n{'':3} {'contestant':38} {'tok/s':>8} {'a / it':>8} {'tokens':>8}")
    for letter, name in NAMES.items():
        if letter not in rates:
            print(f"({letter}) {name:38} {'not run':>8}")
            continue
        ratio = f"{rates['a'] / rates[letter]:8.2f}" if "a" in rates else f"{'':8}"
        print(f"({letter}) {name:38} {rates[letter]:8.0f} {ratio} {rounds[0][letter].tokens:8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="as the setting model_id (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens a reply; the most, with --stops")
    parser.add_argument("--rows", type=int, help="rows of our engine (default: what it chooses)")
    parser.add_argument("--stops", action="store_true", help="replies end where the model ends them")
    parser.add_argument("--only", default="abcfg", help="letters of the contestants (default: %(default)s)")
    parser.add_argument(
        "--b-batches", type=int, default=2, help="batches that (b) answers a round (default: %(default)s)"
    )
    parser.add_argument(
        "--c-batches", type=int, default=1, help="batches that (c) answers a round (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--json", type=Path, help="write every round here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runners = contestants(options)
    rounds: list[dict[str, Spent]] = []
    for number in range(options.repeat):
        rounds.append({})
        for letter, run in runners.items():
            rounds[-1][letter] = spent = run()
            print(f"round {number + 1} ({letter}) {spent.tokens / spent.seconds:8.0f} tok/s in {spent.seconds:.1f} s")
    if options.json:
        found = [{x: {"tokens": s.tokens, "seconds": s.seconds} for x, s in done.items()} for done in rounds]
        report = {"options": {k: str(v) for k, v in vars(options).items()}, "versions": model_loader.versions()}
        options.json.write_text(json.dumps({**report, "rounds": found}, indent=2) + "\n")
    show(rounds)


if __name__ == "__main__":
    main()
