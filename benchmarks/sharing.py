"""Savings of shared answers: agents x tasks with `replica.share_answers` on and off, in turn, in one run.

    python benchmarks/sharing.py [--tasks N] [--agents N] [--tokens N] [--rows N] [--only NAMES] [--repeat N]
                                 [--vllm-python PATH] [--json F]

Cases: the bundled model with the sampling of config/smoke.yaml at temperature 0, 0.1, 0.25 and 0.8, on pages; the same
on slots at 0.25; one agent; and a tiny random model on longer prompts whose scores are sharpened until ten samples
share as much as those of real models do (delivered / computed = 4.5), with all agents. Every reply has --tokens tokens,
unless it meets a stop string or the end of the text. Each round has other seeds, and the engines forget what they know
before it. `nodes` are the distinct token histories of the replies: what cannot be avoided. With --vllm-python, vLLM
with prefix caching answers the same prompts with the same sampling and stops.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from swarmeval.workers.devices import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # like a worker of a run

import model_loader  # first: it silences messages that torch and related packages print at import

model_loader.quiet()
import torch
from torch import Tensor

from benchmarks.comparing import Ids, ids_of, letters
from human_eval_runner import load_tasks
from swarmeval.engine.engine import Engine
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec

REAL_SHARING = 4.5  # delivered / computed tokens of ten samples of CodeLlama-34B-Instruct, GPT-3.5 and GPT-4


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    temperature: float
    agents: int
    decoder: str = "pages"
    model: str = "bundled"


@dataclass(slots=True)
class Measured:
    """One round of one engine."""

    seconds: float
    delivered: int
    computed: int
    nodes: int
    rows: int  # most in use
    forks: int
    waiting: int  # most jobs without a row, other than those not yet admitted


class CountedForks:
    """A decoder that counts its forks."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.forks = inner, 0

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        forked = bool(self.inner.fork(row, length, new_tokens))
        self.forks += forked
        return forked

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def run(engine: Engine, requests: Sequence[Request]) -> tuple[Measured, dict[str, Ids]]:
    """Answer the requests; return the measurements and the token ids of each reply."""
    engine.forget_answers()
    counter = engine.rows.decoder = CountedForks(engine.rows.decoder)
    before, rows, waiting = engine.progress().computed_tokens or 0, 0, 0
    replies: list[Reply] = []
    with letters(engine.tokenizer):
        began = time.perf_counter()
        for request in requests:
            engine.submit(request)
        while engine.busy():
            answers = engine.step()
            replies += [answer for answer in answers if isinstance(answer, Reply)]
            rows = max(rows, engine.progress().rows_in_use)
            waiting = max(waiting, sum(len(branch.members) for branch in engine._parked))
        seconds = time.perf_counter() - began
    engine.rows.decoder = counter.inner
    if len(replies) != len(requests):
        raise RuntimeError(f"{len(requests) - len(replies)} requests were refused")
    ids = {reply.job_id: ids_of(reply) for reply in replies}
    tasks: dict[str, set[Ids]] = {}
    for job_id, tokens in ids.items():
        task = job_id.split("/", 1)[1].rsplit("/", 2)[0]
        tasks.setdefault(task, set()).update(tokens[:length] for length in range(1, len(tokens) + 1))
    computed = (engine.progress().computed_tokens or 0) - before
    delivered = sum(map(len, ids.values()))
    return (
        Measured(seconds, delivered, computed, sum(map(len, tasks.values())), rows, counter.forks, waiting),
        ids,
    )


def requests_of(case: Case, options: argparse.Namespace, seed: int, mode: str) -> list[Request]:
    config = RunConfig(
        model_id="embedded", device="cpu", num_agents=case.agents, max_new_tokens=options.tokens, batch_size=8,
        temperature=case.temperature or 1.0, do_sample=case.temperature > 0, top_p=0.9, top_k=40,
        repetition_penalty=1.0, seed=seed,
    )  # fmt: skip
    plan = Plan(make_agents(config), load_tasks(options.tasks))
    return [make_request(plan, k, mode, config) for k in range(plan.total)]


def spec(options: argparse.Namespace, decoder: str) -> ReplicaSpec:
    kernels: Any = "auto" if decoder == "pages" else "off"
    return ReplicaSpec(
        "hf", model_loader.locate("embedded"), "cpu", True, "auto", kernels, "off", True, options.rows, options.tokens
    )


class Sharpened(torch.nn.Module):
    """A head whose scores are multiplied by a factor."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.factor = inner, 1.0

    def forward(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.inner(hidden) * self.factor
        return scores


def random_engine(options: argparse.Namespace, tokenizer: Any) -> tuple[Engine, Sharpened]:
    """An engine with a small random model that knows the tokens of the bundled one and never ends its text."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from swarmeval.engine import budget, decoder_choice
    from swarmeval.engine.kernels import choice
    from swarmeval.requests import ReplicaInfo

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=4096, initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.lm_head = head = Sharpened(model.lm_head)
    kernels = choice.native_kernels(model.dtype)
    needs = budget.estimate(
        config, model.dtype, device="cpu", rows=options.rows, max_new_tokens=options.tokens, weight_bytes=0, share=1
    )
    fit = decoder_choice.fitted(model, needs, kernels)
    info = ReplicaInfo(
        "hf", "random", "cpu", needs.rows, needs.context_tokens, None, "fp32", "fp32", 0, 0, steady=fit.steady
    )
    made = Engine(model, tokenizer, fit.decoder, info, kernels)
    made.outbox.eos = frozenset()
    return made, head


def sharpen(made: Engine, head: Sharpened, options: argparse.Namespace) -> float:
    """Find the factor at which ten samples share as much as those of real models; return their sharing."""
    case, low, high, found = Case("", 0.25, 10), 0.1, 100.0, 0.0
    few = argparse.Namespace(**vars(options) | {"tasks": 4})
    for _ in range(12):
        head.factor = (low * high) ** 0.5
        measured, _ = run(made, requests_of(case, few, 0, "chat"))
        found = measured.delivered / measured.computed
        low, high = (head.factor, high) if found < REAL_SHARING else (low, head.factor)
    return found


def without_sharing(made: Engine) -> Engine:
    """An engine over the same model and decoder; the two must not be busy at the same time."""
    rows = made.rows
    off = Engine(made.model, made.tokenizer, rows.decoder, made.info(), rows.kernels, share_answers=False)
    off.outbox.eos = made.outbox.eos
    return off


def cases(options: argparse.Namespace) -> list[Case]:
    made = [Case(f"temperature {t:g}", t, options.agents) for t in (0.0, 0.1, 0.25, 0.8)]
    made.append(Case("temperature 0.25, slots", 0.25, options.agents, "slots"))
    made.append(Case("temperature 0.25, one agent", 0.25, 1))
    made.append(Case("random model, sharpened", 0.25, options.agents, model="random"))
    return [case for case in made if not options.only or any(name in case.name for name in options.only)]


def engines(options: argparse.Namespace, chosen: Sequence[Case]) -> dict[tuple[str, str], Engine]:
    """One engine per decoder and model."""
    made = {}
    for decoder in dict.fromkeys(case.decoder for case in chosen if case.model == "bundled"):
        made["bundled", decoder] = load_engine(spec(options, decoder))
    if any(case.model == "random" for case in chosen):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model_loader.folder_of(model_loader.locate("embedded")))
        engine, head = random_engine(options, tokenizer)
        sharing = sharpen(engine, head, options)
        print(f"random model: scores x {head.factor:.2f}, ten samples share {sharing:.2f}", flush=True)
        made["random", "pages"] = engine
    return made


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One result per case and round."""
    chosen = cases(options)
    made = engines(options, chosen)
    for number in range(options.repeat):
        for case in chosen:
            on = made[case.model, case.decoder]
            requests = requests_of(case, options, 1000 * number + 7, "chat")
            shared, ids = run(on, requests)
            alone, same = run(without_sharing(on), requests)
            equal = sum(ids[job] == same[job] for job in ids) / len(ids)
            yield {"case": case.name, "round": number, "on": asdict(shared), "off": asdict(alone), "equal": equal,
                   "steady": on.info().steady, "decoding": on.info().decoding}  # fmt: skip
            print(f"round {number + 1} {case.name}: {rate(shared):.0f} against {rate(alone):.0f} tokens/s", flush=True)


def rate(measured: Measured) -> float:
    return measured.delivered / measured.seconds


def table(results: Sequence[dict[str, Any]]) -> str:
    """Medians per case."""
    lines = [
        f"{'case':28} {'on':>7} {'off':>6} {'ratio':>6} {'shared':>6} {'/nodes':>6} {'rows':>5} {'forks':>6} "
        f"{'waiting':>7} {'equal':>6}"
    ]
    for name in dict.fromkeys(result["case"] for result in results):
        rounds = [result for result in results if result["case"] == name]
        ons = [Measured(**result["on"]) for result in rounds]
        offs = [Measured(**result["off"]) for result in rounds]

        def median(values: Iterator[float]) -> float:
            return statistics.median(values)

        ratio = median(rate(on) / rate(off) for on, off in zip(ons, offs, strict=True))
        lines.append(
            f"{name:28} {median(map(rate, ons)):7.0f} {median(map(rate, offs)):6.0f} {ratio:6.2f} "
            f"{median(on.delivered / on.computed for on in ons):6.2f} "
            f"{median(on.computed / on.nodes for on in ons):6.3f} "
            f"{median(on.rows for on in ons):5.0f} {median(on.forks for on in ons):6.0f} "
            f"{median(on.waiting for on in ons):7.0f} {100 * median(r['equal'] for r in rounds):5.1f}%"
        )
    return "\n".join(lines)


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    results = list(measure(options))
    if options.json:
        versions = model_loader.versions()
        options.json.write_text(json.dumps({"versions": versions, "results": results}, indent=2) + "\n")
    print(f"\ndelivered tokens/s with sharing on and off\n{table(results)}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128, help="longest reply")
    parser.add_argument("--rows", type=int, help="rows of our engine (default: its own choice)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases whose name contains one of these")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write every round here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
