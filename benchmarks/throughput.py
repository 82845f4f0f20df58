"""Throughput of agents x tasks: our engine and its peers with the same weights, prompts and settings.

    python benchmarks/throughput.py [--tasks N] [--agents N] [--tokens N] [--rows N] [--stops] [--only LETTERS]
                                    [--vllm-python PATH] [--json F]

Contestants: (a) ours, NF4; (b) `generate`, NF4, static batches of 8, the documented method; (c) `generate`, bf16,
static batches of 64; (d) transformers' continuous batching, bf16, 64 rows, without repetition penalty and therefore
with less work; (e) vLLM, bf16, in a separate interpreter (RESULTS.md explains how to set it up); (f) the lower bound:
linear layers and head alone, with our number of rows; (g) ours without shared prompts; (h) ours without compiled
kernels. They run in turn, round after round, because a machine's speed drifts; only ratios are meaningful. Slow peers
do only a part of the work, spread evenly: see column `tokens`. Without --stops, the end-of-text token is ignored and
every reply has exactly --tokens tokens. With it, neither that token nor anything after it counts.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from swarmeval.workers.devices import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # like a worker of a run

import model_loader
from swarmeval.engine.quiet import quiet

quiet()  # first: torch and related packages print messages at import
import torch
from torch.nn import functional

from benchmarks import peers, vllm_peer
from benchmarks.peers import Contestant, RoundCost, spread
from benchmarks.vllm_peer import VllmChild
from human_eval_runner import load_tasks
from swarmeval.engine.engine import Engine
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec

NAMES = {
    "a": "ours, NF4",
    "b": "generate, NF4, batches of 8",
    "c": "generate, bf16, batches of 64",
    "d": "continuous batching, bf16, no penalty",
    "e": "vLLM, bf16",
    "f": "floor: linear layers and head alone",
    "g": "ours, NF4, sharing off",
    "h": "ours, NF4, native_kernels: off",
}
FLOOR_STEPS = 30
BATCH_ROWS = 64  # rows of (c) and (d)


def ours(made: Engine, requests: list[Request]) -> RoundCost:
    made.forget_answers()
    made.rows.clear(made.rows.most)  # the prompts too, as vLLM does
    began = time.perf_counter()
    answers = []
    for request in requests:
        made.submit(request)
    while made.busy():
        answers += made.step()
    replies = [answer for answer in answers if isinstance(answer, Reply)]
    if len(replies) != len(requests):
        raise RuntimeError(f"{len(requests) - len(replies)} requests were refused: {answers}")
    return RoundCost(sum(reply.output_tokens for reply in replies), time.perf_counter() - began)


def floor(model: Any, rows: int) -> Contestant:
    """Every linear layer of a bf16 model once per step, prepacked if possible, and nothing else."""
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {m.in_features: torch.randn(rows, m.in_features).to(m.weight.dtype) for m in linears}
    calls = [(inputs[m.in_features], packed(m)) for m in linears]

    @torch.inference_mode()
    def run() -> RoundCost:
        began = time.perf_counter()
        for _ in range(FLOOR_STEPS):
            for values, call in calls:
                call(values)
        return RoundCost(FLOOR_STEPS * rows, time.perf_counter() - began)

    return run


def packed(linear: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """The layer with its weight prepacked for oneDNN; the plain layer if that fails."""
    weight, bias = linear.weight.detach(), linear.bias
    try:
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight)
        torch.ops.mkldnn._linear_pointwise(weight[:1], laid_out, bias, "none", [], "")
    except RuntimeError:
        return lambda values: functional.linear(values, weight, bias)
    return lambda values: torch.ops.mkldnn._linear_pointwise(values, laid_out, bias, "none", [], "")


def contestants(options: argparse.Namespace, open_children: ExitStack) -> dict[str, Contestant]:
    """Load the requested contestants that can run here; child processes are registered in `open_children`."""
    config = RunConfig(
        model_id=options.model, device="cpu", num_agents=options.agents, max_new_tokens=options.tokens, batch_size=8
    )
    folder = model_loader.locate(config.model_id)
    plan = Plan(make_agents(config), load_tasks(options.tasks))
    made = engine(folder, options)
    mode = "chat" if made.tokenizer.chat_template else "completion"
    requests = [make_request(plan, k, mode, config) for k in range(plan.total)]
    rows = made.info().rows
    print(
        f"{options.tasks} tasks x {options.agents} agents x {options.tokens} tokens, {rows} rows, {made.info().weights}"
    )
    runners: dict[str, Contestant] = {}
    runners["a"] = lambda: ours(made, requests)
    if "g" in options.only:
        unshared = engine(folder, options, share=False)
        runners["g"] = lambda: ours(unshared, requests)
    if "h" in options.only:
        plain = engine(folder, options, native_kernels="off")
        runners["h"] = lambda: ours(plain, requests)
    runners |= others(folder, requests, options)
    if "e" in options.only and options.vllm_python:
        runners["e"] = vllm(folder, made, requests, options, open_children)
    if "f" in options.only:
        runners["f"] = floor(model_loader.load(folder, device="cpu", weights="auto").model, rows)
    return {letter: runners[letter] for letter in sorted(runners) if letter in options.only}


def engine(
    folder: str, options: argparse.Namespace, native_kernels: Literal["auto", "off"] = "auto", share: bool = True
) -> Engine:
    spec = ReplicaSpec(
        "hf", folder, "cpu", "nf4", "auto", native_kernels, "off", True, options.rows, options.tokens
    )  # fmt: skip
    made = load_engine(spec, share)
    if not options.stops:
        made.outbox.eos = frozenset()
    return made


def others(folder: str, requests: Sequence[Request], options: argparse.Namespace) -> dict[str, Contestant]:
    """The peers that run in this process."""
    runners = {}
    if "b" in options.only:
        nf4 = model_loader.load(folder, device="cpu", weights="nf4")
        runners["b"] = peers.static(nf4, requests, 8, options.b_batches, options.stops)
    if {"c", "d"} & set(options.only):
        bf16 = model_loader.load(folder, device="cpu", weights="auto")
        runners["c"] = peers.static(bf16, requests, BATCH_ROWS, options.c_batches, options.stops)
        runners["d"] = peers.continuous(bf16, spread(requests, options.d_requests), BATCH_ROWS, options.stops)
    return runners


def vllm(
    folder: str, made: Engine, requests: Sequence[Request], options: argparse.Namespace, open_children: ExitStack
) -> Contestant:
    chosen = spread(requests, options.e_requests or len(requests))
    prompts = [peers.prompt_ids(made.tokenizer, request) for request in chosen]
    context_tokens = max(map(len, prompts)) + options.tokens
    child = VllmChild(options.vllm_python, model_loader.folder_of(folder), context_tokens, options.threads)
    print(f"vLLM {open_children.enter_context(child).version} is loaded", flush=True)
    return vllm_peer.vllm(child, prompts, chosen, made.outbox.eos)


def medians(rounds: Sequence[Mapping[str, RoundCost]]) -> dict[str, float]:
    """Median tokens/s of every contestant that ran."""
    return {x: statistics.median(r[x].tokens / r[x].seconds for r in rounds) for x in rounds[0]}


def ratios(rates: Mapping[str, float]) -> dict[str, float]:
    """Our speed divided by each contestant's; empty if ours did not run."""
    return {x: rates["a"] / rate for x, rate in rates.items()} if "a" in rates else {}


def table(rounds: Sequence[Mapping[str, RoundCost]]) -> str:
    """Median throughputs and our speed relative to each."""
    rates = medians(rounds)
    compared = ratios(rates)
    lines = [f"{'':3} {'contestant':38} {'tok/s':>8} {'a / it':>8} {'tokens':>8}"]
    for letter, name in NAMES.items():
        line = f"({letter}) {name:38} {'not run':>8}"
        if letter in rates:
            ratio = f"{compared[letter]:8.2f}" if compared else f"{'':8}"
            line = f"({letter}) {name:38} {rates[letter]:8.0f} {ratio} {rounds[0][letter].tokens:8}"
        lines.append(line)
    return "\n".join(lines)


def report(rounds: Sequence[Mapping[str, RoundCost]], options: argparse.Namespace) -> dict[str, Any]:
    """The content for --json: every round, the medians, and our relative speed."""
    rates = medians(rounds)
    return {
        "options": {name: str(value) for name, value in vars(options).items()},
        "versions": model_loader.versions(),
        "rounds": [{x: {"tokens": s.tokens, "seconds": s.seconds} for x, s in done.items()} for done in rounds],
        "median_tokens_per_s": rates,
        "a_over_it": ratios(rates),
    }


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    rounds: list[dict[str, RoundCost]] = []
    with ExitStack() as open_children:
        runners = contestants(options, open_children)
        for number in range(options.repeat):
            rounds.append({})
            for letter, run in runners.items():
                rounds[-1][letter] = spent = run()
                speed = f"{spent.tokens / spent.seconds:8.0f} tok/s in {spent.seconds:.1f} s"
                print(f"round {number + 1} ({letter}) {speed}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report(rounds, options), indent=2) + "\n")
    print(f"\n{table(rounds)}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="like the setting model_id (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens per reply; with --stops, the maximum")
    parser.add_argument("--rows", type=int, help="rows of our engine (default: its own choice)")
    parser.add_argument("--stops", action="store_true", help="let replies end at the end-of-text token")
    parser.add_argument("--only", default="abcdefgh", help="letters of the contestants (default: %(default)s)")
    share = "%s for (%s) per round (default: %s)"
    parser.add_argument("--b-batches", type=int, default=2, help=share % ("batches", "b", "%(default)s"))
    parser.add_argument("--c-batches", type=int, default=1, help=share % ("batches", "c", "%(default)s"))
    parser.add_argument("--d-requests", type=int, default=64, help=share % ("requests", "d", "%(default)s"))
    parser.add_argument("--e-requests", type=int, help=share % ("requests", "e", "all"))
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and vLLM (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--json", type=Path, help="write every round here")
    options = vllm_peer.parse(parser, arguments)
    if unknown := sorted(set(options.only) - set(NAMES)):
        parser.error(f"--only: unknown contestants {', '.join(unknown)}; use letters of {''.join(NAMES)}")
    return options


if __name__ == "__main__":
    main()
