"""Savings of shared answers: agents x tasks with `replica.share_answers` on and off, in turn, in one run.

    python benchmarks/sharing.py [--tasks N] [--agents N] [--tokens N] [--rows N] [--only NAMES] [--repeat N]
                                 [--vllm-python PATH] [--json F]

Cases: the bundled model with the sampling of config/smoke.yaml at temperature 0, 0.1, 0.25 and 0.8, on pages; the same
on slots at 0.25; one agent; and a tiny random model on longer prompts whose scores are sharpened until ten samples
share as much as those of real models do (delivered / computed = 4.5), with all agents. Every reply has --tokens tokens,
unless it meets the end of the text. Each round has other seeds, and the engines forget what they know before it.
`nodes` are the distinct token histories of the replies: what cannot be avoided. With --vllm-python, vLLM with prefix
caching (RESULTS.md explains how to set it up) answers the first round of the cases of the bundled model on pages: the
same prompts, seeds, sampling and ends.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
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

from benchmarks import sharpened, vllm_peer
from benchmarks.comparing import Ids, ids_of, letters
from benchmarks.peers import RoundCost, prompt_ids
from benchmarks.vllm_peer import VllmChild
from human_eval_runner import load_tasks
from swarmeval.engine.engine import Engine
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec


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
    engine.rows.clear(engine.rows.most)  # the prompts too
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
        "hf", model_loader.locate("embedded"), "cpu", "nf4", "auto", kernels, "off", True, options.rows, options.tokens
    )


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
    names = {case.name for case in made}

    def is_chosen(case: Case) -> bool:
        return any(case.name == name if name in names else name in case.name for name in options.only)

    return [case for case in made if not options.only or is_chosen(case)]


def engines(options: argparse.Namespace, chosen: Sequence[Case]) -> dict[tuple[str, str], Engine]:
    """One engine per model and decoder."""
    made = {}
    for decoder in dict.fromkeys(case.decoder for case in chosen if case.model == "bundled"):
        made["bundled", decoder] = load_engine(spec(options, decoder))
    if any(case.model == "random" for case in chosen):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model_loader.folder_of(model_loader.locate("embedded")))
        engine, head = sharpened.random_engine(options.rows, options.tokens, tokenizer)
        few = requests_of(Case("", 0.25, 10), argparse.Namespace(**vars(options) | {"tasks": 4}), 0, "chat")

        def ten_samples() -> float:
            measured, _ = run(engine, few)
            return measured.delivered / measured.computed

        sharing = sharpened.sharpen(head, ten_samples)
        print(f"random model: scores x {head.factor:.2f}, ten samples share {sharing:.2f}", flush=True)
        made["random", "pages"] = engine
    return made


def measure(options: argparse.Namespace, open_children: ExitStack) -> Iterator[dict[str, Any]]:
    """One result per case and round."""
    chosen = cases(options)
    made = engines(options, chosen)
    peer = vllm(options, made["bundled", "pages"], open_children) if options.vllm_python else None
    for number in range(options.repeat):
        for case in chosen:
            on = made[case.model, case.decoder]
            requests = requests_of(case, options, 1000 * number + 7, "chat")
            shared, ids = run(on, requests)
            alone, same = run(without_sharing(on), requests)
            equal = sum(ids[job] == same[job] for job in ids) / len(ids)
            result = {"case": case.name, "round": number, "on": asdict(shared), "off": asdict(alone), "equal": equal,
                      "steady": on.info().steady, "decoding": on.info().decoding}  # fmt: skip
            print(f"round {number + 1} {case.name}: {rate(shared):.0f} against {rate(alone):.0f} tokens/s", flush=True)
            if peer and number == 0 and on is made["bundled", "pages"]:
                cost = peer(requests)
                result["vllm"] = asdict(cost)
                print(f"vLLM: {cost.tokens / cost.seconds:.0f} tokens/s in {cost.seconds:.0f} s", flush=True)
            yield result


def vllm(
    options: argparse.Namespace, ours: Engine, open_children: ExitStack
) -> Callable[[Sequence[Request]], RoundCost]:
    """vLLM on the bundled model, which ends its replies where our engine does."""
    prompts = {}

    def ids(request: Request) -> tuple[int, ...]:
        if request.messages not in prompts:
            prompts[request.messages] = prompt_ids(ours.tokenizer, request)
        return prompts[request.messages]

    longest = max(len(ids(request)) for request in requests_of(Case("", 0, 1), options, 0, "chat"))
    folder = model_loader.folder_of(model_loader.locate("embedded"))
    child = VllmChild(options.vllm_python, folder, longest + options.tokens, options.threads)
    print(f"vLLM {open_children.enter_context(child).version} is loaded", flush=True)
    return lambda requests: vllm_peer.vllm(child, [*map(ids, requests)], requests, ours.outbox.eos)()


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


def beside_vllm(results: Sequence[dict[str, Any]]) -> str:
    """Our delivered tokens/s beside vLLM's, for the rounds that vLLM answered too; empty if there are none."""
    lines = [f"{'case':28} {'ours':>7} {'vLLM':>6} {'ratio':>6}"]
    for result in results:
        if "vllm" in result:
            ours, theirs = rate(Measured(**result["on"])), result["vllm"]["tokens"] / result["vllm"]["seconds"]
            lines.append(f"{result['case']:28} {ours:7.0f} {theirs:6.0f} {ours / theirs:6.2f}")
    return "\n".join(lines) if len(lines) > 1 else ""


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    with ExitStack() as open_children:
        results = list(measure(options, open_children))
    if options.json:
        versions = model_loader.versions()
        options.json.write_text(json.dumps({"versions": versions, "results": results}, indent=2) + "\n")
    print(f"\ndelivered tokens/s with sharing on and off\n{table(results)}")
    if options.vllm_python:
        print(f"\ndelivered tokens/s beside vLLM\n{beside_vllm(results)}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128, help="longest reply")
    parser.add_argument("--rows", type=int, help="rows of our engine (default: its own choice)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases of these names, or whose name contains one")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write every round here")
    options = vllm_peer.parse(parser, arguments)
    if options.vllm_python and not any(case.model == "bundled" and case.decoder == "pages" for case in cases(options)):
        parser.error("--vllm-python: vLLM answers only cases of the bundled model on pages; add one to --only")
    return options


if __name__ == "__main__":
    main()
