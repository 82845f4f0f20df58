"""Correctness checks and throughput of the engine on a GPU, compared with transformers' `generate`.

    python benchmarks/cuda_check.py [--model M] [--tokens N] [--agents N] [--tasks N] [--rows N] [--repeat N] [--json F]

The checks: random models of every family give the replies of `generate`; every decoder gives the logits of plain
decoding with the NF4 model; how many replies depend on the number of rows; running out of memory halves the rows and
loses no request. Then throughput in tokens/s, with end-of-text ignored. Each contestant is loaded alone and warmed up
for one round. Exit code: 0, 1 if a check failed, 2 if torch finds no CUDA device.
"""

import argparse
import functools
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import model_loader  # first: it silences messages that torch and related packages print at import

model_loader.quiet()
import msgspec
import torch
from transformers import AutoTokenizer

from benchmarks.cuda_claims import FAMILIES, Check, family_check, generated, logits_checks, memory_check, share_check
from benchmarks.peers import Contestant, RoundCost, endless, prompt_ids
from benchmarks.throughput import FLOOR_STEPS, ours
from human_eval_runner import load_tasks
from swarmeval.engine import budget, graphs
from swarmeval.engine.engine import Engine
from swarmeval.errors import UserError
from swarmeval.requests import Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec

DEVICE = "cuda:0"
SCARCE_ROWS = 256
NAMES = {
    "a": "ours, NF4, CUDA graphs",
    "g": "ours, NF4, prompts shared, no graphs",
    "h": "ours, NF4, neither",
    "b": "generate, NF4, batches of 8",
    "c": "generate, bf16, batches of 64",
    "f": "floor: linear layers and head alone, bf16, replayed",
}


@contextmanager
def room(extra: int) -> Iterator[None]:
    """Limit torch to `extra` more bytes on the GPU inside the context."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + extra) / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def checks(folder: str, requests: Sequence[Request], options: argparse.Namespace) -> Iterator[Check]:
    """Run all checks on the GPU."""
    begin = functools.partial(graphs.on_cuda, torch.device(DEVICE))
    for name, changes in FAMILIES:
        yield family_check(name, changes, DEVICE, begin)
    yield from logits_checks(model_loader.load(folder, device=DEVICE, load_in_4bit=True).model, begin)
    free()
    few, many = (functools.partial(load_engine, spec(folder, options, rows)) for rows in (8, 32))
    yield share_check(few(), many(), requests[:64])
    free()
    rows = min(SCARCE_ROWS, len(requests))
    unshared = msgspec.structs.replace(spec(folder, options, rows), share_answers="off")  # so that all rows are used
    served = load_engine(unshared)
    longest = max(len(prompt_ids(served.tokenizer, request)) for request in requests) + options.tokens
    needed = rows * longest * budget.token_bytes(served.model.config, served.model.dtype)
    yield memory_check(served, requests, room(needed // 2))


def contestants(
    folder: str, requests: list[Request], options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Contestant]]]:
    """Yield each contestant's letter and its loader."""
    launched = msgspec.structs.replace(spec(folder, options, options.rows), cuda_graphs="off")
    yield "a", lambda: engine_contestant(load_engine(spec(folder, options, options.rows)), requests)
    yield "g", lambda: engine_contestant(load_engine(launched), requests)
    yield "h", lambda: engine_contestant(load_engine(launched, share=False), requests)
    yield "b", lambda: peer(model_loader.load(folder, device=DEVICE, load_in_4bit=True), requests, 8)
    yield "c", lambda: peer(model_loader.load(folder, device=DEVICE, load_in_4bit=False), requests, 64)
    yield "f", lambda: floor(model_loader.load(folder, device=DEVICE, load_in_4bit=False).model, options.rows or 64)


def engine_contestant(made: Engine, requests: list[Request]) -> Contestant:
    print(f"    {made.info().rows} rows, {made.info().decoding}")
    made.outbox.eos = frozenset()
    return lambda: ours(made, requests)


def peer(loaded: model_loader.LoadedModel, requests: list[Request], size: int, batches: int = 2) -> Contestant:
    """`generate` over some of the batches, evenly spaced."""
    starts = range(0, len(requests), size)
    chosen = [starts[i * len(starts) // batches] for i in range(min(batches, len(starts)))]

    def run() -> RoundCost:
        torch.manual_seed(0)
        began = time.perf_counter()
        with endless(loaded.model, loaded.tokenizer, stops=False):
            rows = [generated(loaded.model, loaded.tokenizer, requests[start : start + size]) for start in chosen]
        return RoundCost(sum(len(row) for batch in rows for row in batch), time.perf_counter() - began)

    return run


def floor(model: Any, rows: int) -> Contestant:
    """Every linear layer once per step, as one CUDA graph, and nothing else."""
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {m.in_features: torch.randn(rows, m.in_features).to(m.weight) for m in linears}

    @torch.inference_mode()
    def work() -> None:
        for linear in linears:
            linear(inputs[linear.in_features])

    replay = graphs.on_cuda(model.device)(work)

    def run() -> RoundCost:
        began = time.perf_counter()
        for _ in range(FLOOR_STEPS):
            replay()
        torch.cuda.synchronize()
        return RoundCost(FLOOR_STEPS * rows, time.perf_counter() - began)

    return run


def spec(folder: str, options: argparse.Namespace, rows: int | None) -> ReplicaSpec:
    return ReplicaSpec("hf", folder, DEVICE, True, "auto", "off", "auto", True, rows, options.tokens)


def free() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def measured(load: Callable[[], Contestant], rounds: int) -> list[RoundCost]:
    """Measure one contestant for `rounds` rounds, after a warm-up round in which graphs are recorded."""
    run = load()
    run()
    return [run() for _ in range(rounds)]


def table(runs: dict[str, list[RoundCost]]) -> list[str]:
    """Median throughputs and our speed relative to each."""
    rates = {x: statistics.median(s.tokens / s.seconds for s in rounds) for x, rounds in runs.items()}
    lines = [f"{'':3} {'contestant':52} {'tok/s':>10} {'a / it':>8}"]
    for letter, name in NAMES.items():
        figures = f"{rates[letter]:10.0f} {rates['a'] / rates[letter]:8.2f}" if letter in rates else f"{'not run':>10}"
        lines.append(f"({letter}) {name:52} {figures}")
    return lines


def work_of(options: argparse.Namespace) -> tuple[str, list[Request]]:
    """The model's folder and all requests of the run that the options describe."""
    config = RunConfig(model_id=options.model, num_agents=options.agents, max_new_tokens=options.tokens)
    folder = model_loader.locate(config.model_id)
    plan = Plan(make_agents(config), load_tasks(options.tasks))
    chat = AutoTokenizer.from_pretrained(model_loader.folder_of(folder), trust_remote_code=False).chat_template
    return folder, [make_request(plan, k, "chat" if chat else "completion", config) for k in range(plan.total)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="like the setting model_id (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens per reply (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="rows of our engine (default: its own choice)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("cuda_check: torch found no CUDA device; run this on a machine with a GPU", file=sys.stderr)
        return 2
    try:
        folder, requests = work_of(options)
    except UserError as error:
        print(f"cuda_check: {error}", file=sys.stderr)
        return 2
    done = []
    for check in checks(folder, requests, options):
        done.append(check)
        print(f"{'----' if check.passed is None else 'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")
    runs: dict[str, list[RoundCost]] = {}
    for letter, load in contestants(folder, requests, options):
        free()
        print(f"({letter}) {NAMES[letter]}")
        runs[letter] = measured(load, options.repeat)
    print("\n".join(["", *table(runs)]))
    if options.json:
        report = {
            "options": {k: str(v) for k, v in vars(options).items()},
            "versions": model_loader.versions(),
            "device": torch.cuda.get_device_name(DEVICE),
            "checks": [asdict(check) for check in done],
            "rounds": {letter: [asdict(spent) for spent in rounds] for letter, rounds in runs.items()},
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(check.passed is False for check in done) else 0


if __name__ == "__main__":
    sys.exit(main())
