"""The cost of LoRA adapters: rows over several of them in one batch, beside one adapter, none, and one after the other.

    python benchmarks/adapters.py [--adapters N] [--rank R] [--tasks N] [--agents N] [--tokens N] [--rows N]
                                  [--repeat N] [--json F]

Contestants, with the same prompts, seeds and settings: (n) an engine without adapters; (o) one with one adapter, for
all requests; (b) one with all adapters, whose requests it answers in one batch; (s) the engine with one adapter,
for the requests of each adapter in turn, as separate runs would. The adapters are random and adapt all linear layers.
Contestants run in turn, round after round, because a machine's speed drifts; only ratios are meaningful. Every reply
has exactly --tokens tokens. Agents of one adapter share their prompt; agents of different ones share nothing.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from swarmeval.workers.devices import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # like a worker of a run

import model_loader
from swarmeval.engine.quiet import quiet

quiet()  # first: torch and related packages print messages at import
import torch
from msgspec.structs import replace
from safetensors.torch import save_file

from human_eval_runner import load_tasks
from swarmeval.engine.adapters.files import CONFIG, WEIGHTS
from swarmeval.engine.engine import Engine
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec

NAMES = {
    "n": "no adapter",
    "o": "one adapter, all rows",
    "b": "all adapters in one batch",
    "s": "all adapters, one after the other",
}
SPREAD = 0.02  # standard deviation of a random adapter's numbers


def save_random(model: Any, folder: Path, rank: int, seed: int) -> Path:
    """Write a random adapter of a model in PEFT's format."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            for side, shape in {"A": (rank, module.in_features), "B": (module.out_features, rank)}.items():
                matrix = SPREAD * torch.randn(shape, generator=generator)
                tensors[f"base_model.model.{name}.lora_{side}.weight"] = matrix
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": rank}))
    save_file(tensors, folder / WEIGHTS)
    return folder


def engine(model: str, options: argparse.Namespace, adapters: Mapping[str, Path]) -> Engine:
    named = tuple((name, str(folder)) for name, folder in adapters.items())
    spec = ReplicaSpec(
        "hf", model, "cpu", "nf4", "auto", "auto", "off", True, options.rows, options.tokens, adapters=named
    )
    made = load_engine(spec)
    made.outbox.eos = frozenset()
    return made


def answered(made: Engine, requests: Sequence[Request]) -> dict[str, float]:
    """Seconds, processor seconds, delivered and computed tokens of a round. Raises RuntimeError if a request fails."""
    made.forget_answers()
    before, began, worked = made.outbox.computed_tokens, time.perf_counter(), time.process_time()
    for request in requests:
        made.submit(request)
    delivered = 0
    while made.busy():
        for answer in made.step():
            if not isinstance(answer, Reply):
                raise RuntimeError(answer.reason)
            delivered += answer.output_tokens
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - worked
    return {
        "seconds": seconds, "cpu_s": cpu_s, "tokens": delivered, "computed": made.outbox.computed_tokens - before
    }  # fmt: skip


def contestants(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Load all engines."""
    located = model_loader.locate(options.model)
    plain = engine(located, options, {})
    whole = model_loader.load(located, device="cpu", weights="auto").model
    names = [f"lora{number}" for number in range(options.adapters)]
    every = {name: save_random(whole, folder / name, options.rank, seed) for seed, name in enumerate(names)}
    del whole
    config = RunConfig(
        model_id=options.model, device="cpu", adapters={name: str(path) for name, path in every.items()},
        num_agents=options.agents, max_new_tokens=options.tokens, temperature=0.8,
    )  # fmt: skip
    plan = Plan(make_agents(config), load_tasks(options.tasks))
    mode = "chat" if plain.tokenizer.chat_template else "completion"
    mixed = [make_request(plan, k, mode, config) for k in range(plan.total)]
    together = engine(located, options, every)
    single = engine(located, options, {names[0]: every[names[0]]})
    with_first = [replace(one, adapter=names[0]) for one in mixed]
    print(
        f"{len(mixed)} requests over {len(names)} adapters of rank {options.rank}; {plain.info().weights}", flush=True
    )

    def one_after_the_other() -> dict[str, float]:
        own = [[first for first, one in zip(with_first, mixed, strict=True) if one.adapter == name] for name in names]
        parts = [answered(single, requests) for requests in own]
        return {key: sum(part[key] for part in parts) for key in parts[0]}

    return {
        "n": lambda: answered(plain, [replace(one, adapter="") for one in mixed]),
        "o": lambda: answered(single, with_first),
        "b": lambda: answered(together, mixed),
        "s": one_after_the_other,
    }


def table(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Medians of all rounds, and the processor time relative to that without adapters."""

    def median(letter: str, key: str) -> float:
        return statistics.median(done[letter][key] for done in rounds)

    lines = [f"{'':3} {'contestant':34} {'s':>7} {'CPU s':>7} {'times (n)':>10} {'tokens':>8} {'computed':>9}"]
    for letter, name in NAMES.items():
        cpu_s = median(letter, "cpu_s")
        lines.append(
            f"({letter}) {name:34} {median(letter, 'seconds'):7.1f} {cpu_s:7.1f} {cpu_s / median('n', 'cpu_s'):10.2f} "
            f"{median(letter, 'tokens'):8.0f} {median(letter, 'computed'):9.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        runners = contestants(options, Path(folder))
        for number in range(options.repeat):
            rounds.append({})
            for letter, run in runners.items():
                rounds[-1][letter] = spent = run()
                print(f"round {number + 1} ({letter}) {spent['seconds']:.1f} s", flush=True)
    if options.json:
        facts = {"options": {name: str(value) for name, value in vars(options).items()}, "rounds": rounds}
        options.json.write_text(json.dumps(facts | {"versions": model_loader.versions()}, indent=2) + "\n")
    print(f"\n{table(rounds)}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="like the setting model_id (default: %(default)s)")
    parser.add_argument("--adapters", type=int, default=4, help="number of adapters (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=16, help="rank of each (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--agents", type=int, default=8, help="agents per adapter (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens per reply (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=64, help="rows of each engine (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--json", type=Path, help="write every round here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
