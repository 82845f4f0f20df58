"""Scaling of the engine: the gain of a second worker, the cost of concurrent judging, the waste of finished rows.

    python benchmarks/scaling.py [--only abc] [--tasks N] [--agents N] [--rows N] [--repeat N] [--json F]

(a) Runs `main.py`, judging included, in turn with one CPU worker on one core, with two single-threaded workers on two
cores, and with one two-threaded worker on two cores. Reports the tokens/s of score.json, which counts from the moment
the first worker has loaded, and the sum of each worker's rate from its first request to its last answer. A run and its
child processes stay on its cores. The aim is a factor of 1.8 from one worker to two.
(b) Tokens/s of the engine in this process: alone, beside judges that run canonical solutions without pause, and beside
judges of endless programs, in turn for a few seconds each. The aim is to lose less than 5 %.
(c) Replies that end at the model's end-of-text token: the share of row-steps that gave no token, counted in steps in
which no row joined. The share that static batches with as many rows would waste is printed for comparison.
"""

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.judges import judges
from human_eval_runner import load_tasks
from swarmeval.records import Job
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import EMBEDDED, RunConfig
from swarmeval.workers.devices import SPINS

if TYPE_CHECKING:
    from swarmeval.engine.engine import Engine

Figures = dict[str, float]
SHAPES = {"one worker": (1, 1), "two workers": (2, 1), "two threads": (1, 2)}  # (a): workers, threads per worker


def run_main(workers: int, threads: int, options: argparse.Namespace) -> Figures:
    """Run main.py once with `workers` workers of `threads` threads each, with one core per thread."""
    with tempfile.TemporaryDirectory() as folder, on_cores(workers * threads):
        arguments = [sys.executable, str(ROOT / "main.py"), "--config", str(ROOT / "config" / "smoke.yaml")]
        arguments += ["--num_tasks", str(options.tasks), "--num_agents", str(options.agents), "--output_dir", folder]
        arguments += [
            "--set",
            f"cpu_workers={workers}",
            f"replica.rows={options.rows}",
            f"max_new_tokens={options.tokens}",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
        score = json.loads(Path(folder, "score.json").read_text(encoding="utf-8"))
        with Path(folder, "metrics.csv").open(encoding="utf-8", newline="") as rows:
            own = paces(list(csv.DictReader(rows)))
        return {"tokens_per_s": score["tokens_per_s"], "tokens_per_s_once_loaded": sum(own.values())}


def paces(jobs: Sequence[dict[str, str]]) -> Figures:
    """Tokens/s of each device from its first request to its last answer, so that other devices' loading is excluded."""
    rates = {}
    for device in {job["device"] for job in jobs}:
        own_jobs = [job for job in jobs if job["device"] == device]
        began = min(float(job["finished_at"]) - float(job["latency_s"]) for job in own_jobs)
        ended = max(float(job["finished_at"]) for job in own_jobs)
        rates[device] = sum(int(job["output_tokens"]) for job in own_jobs) / (ended - began)
    return rates


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Pin processes started inside the context to the first `count` cores of this process."""
    previous = os.sched_getaffinity(0)
    if len(previous) < count:
        raise SystemExit(f"scaling: {count} threads need {count} cores, this process may use {len(previous)}")
    os.sched_setaffinity(0, sorted(previous)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, previous)


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Rotate the names by the round's number, so that a drift of the machine's speed favours none."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def workers(options: argparse.Namespace) -> dict[str, Any]:
    """Measure (a)."""
    rounds: list[dict[str, Figures]] = []
    for number in range(options.repeat):
        rounds.append({})
        for name in in_turn(tuple(SHAPES), number):
            rounds[-1][name] = figures = run_main(*SHAPES[name], options)
            print(f"(a) round {number + 1}, {name}, tokens/s: {figures['tokens_per_s']:.0f}", flush=True)
    return compared(rounds)


def judging(made: "Engine", requests: Iterator[Request], options: argparse.Namespace) -> dict[str, Any]:
    """Measure (b)."""
    rounds: list[dict[str, Figures]] = []
    with judges(options.judges, "canonical") as canonical, judges(options.judges, "endless") as endless:
        states = {"alone": None, "canonical": canonical, "endless": endless}
        pace(made, requests, options.window_s)  # the first steps of an engine are its slowest
        for number in range(options.windows):
            rounds.append({})
            for name in in_turn(tuple(states), number):
                with nullcontext() if (switch := states[name]) is None else switch():
                    rounds[-1][name] = pace(made, requests, options.window_s)
    report = compared(rounds)
    for name in states:
        print(f"(b) judged: {name}, tokens/s: {report['medians'][name]['tokens_per_s']:.0f}", flush=True)
    return report


def compared(rounds: Sequence[dict[str, Figures]]) -> dict[str, Any]:
    """Medians per name, and the median ratio of each name to the first name of the first round."""
    base = next(iter(rounds[0]))
    figures = {
        name: {key: statistics.median(round_figures[name][key] for round_figures in rounds) for key in rounds[0][name]}
        for name in rounds[0]
    }
    ratios = {
        name: {
            key: statistics.median(round_figures[name][key] / round_figures[base][key] for round_figures in rounds)
            for key in rounds[0][name]
        }
        for name in rounds[0]
        if name != base
    }
    return {"medians": figures, "ratios": ratios, "rounds": list(rounds)}


def pace(made: "Engine", requests: Iterator[Request], seconds: float) -> Figures:
    """Tokens/s of an engine with all rows in use, measured in the steps in which no row joins."""
    spent, tokens, began = 0.0, 0, time.perf_counter()
    while time.perf_counter() - began < seconds or not tokens:
        while made.progress().waiting < made.info().rows:
            made.submit(next(requests))
        before, step_began = made.progress(), time.perf_counter()
        made.step()
        after = made.progress()
        if after.waiting == before.waiting:
            spent += time.perf_counter() - step_began
            tokens += after.output_tokens - before.output_tokens
    return {"tokens_per_s": tokens / spent}


def ending(made: "Engine", requests: Sequence[Request]) -> dict[str, Any]:
    """Measure (c)."""
    for request in requests:
        made.submit(request)
    replies: list[Reply] = []
    row_steps = wasted = 0
    while made.busy():
        before = made.progress()
        new_replies = [answer for answer in made.step() if isinstance(answer, Reply)]
        after = made.progress()
        replies += new_replies
        if after.waiting == before.waiting:  # else newcomers bring first tokens, which come of no row's step
            row_steps += before.rows_in_use
            wasted += before.rows_in_use - (after.output_tokens - before.output_tokens) - sum(map(ended, new_replies))
    lengths = {reply.job_id: reply.output_tokens + ended(reply) for reply in replies}
    if len(lengths) != len(requests):
        raise RuntimeError(f"{len(requests) - len(lengths)} requests were refused")
    return {
        "replies": len(replies),
        "ended_by_the_model": sum(map(ended, replies)) / len(replies),
        "row_steps": row_steps,
        "wasted": wasted / row_steps,
        "wasted_by_static_batches": static_waste([lengths[r.job_id] for r in requests], made.info().rows),
    }


def ended(reply: Reply) -> bool:
    """Whether an end-of-text token ended the reply."""
    return reply.finish_reason == "stop"


def static_waste(lengths: Sequence[int], rows: int) -> float:
    """The share of row-steps that static batches of `rows` replies would waste on finished rows."""
    batches = [lengths[start : start + rows] for start in range(0, len(lengths), rows)]
    spent = sum(max(batch) * len(batch) for batch in batches)
    return 1 - sum(lengths) / spent


def engine(options: argparse.Namespace) -> "Engine":
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # like a worker of a run

    from swarmeval.engine.quiet import quiet

    quiet()  # first: torch and related packages print messages at import
    import torch

    from swarmeval.workers.replica import load_engine
    from swarmeval.workers.replica_spec import ReplicaSpec

    torch.set_num_threads(options.threads)
    return load_engine(
        ReplicaSpec(
            engine="hf", model=EMBEDDED, device="cpu", weights="nf4", weight_cache="auto", native_kernels="auto",
            cuda_graphs="off", share_answers="off",  # every request a row
            data_parallel=True, rows=options.rows, max_new_tokens=max(options.tokens, options.long_tokens),
        )
    )  # fmt: skip


def requests_of_run(tokens: int, options: argparse.Namespace, samples: int = 1) -> Iterator[Request]:
    """Yield the requests of a run with `samples` samples, all tasks and agents for each sample."""
    config = RunConfig(
        num_agents=options.agents,
        num_samples=samples,
        humaneval_limit=options.tasks,
        max_new_tokens=tokens,
        repetition_penalty=1.0,
        device="cpu",
    )
    plan = Plan(make_agents(config), load_tasks(options.tasks))
    for sample, task, agent in itertools.product(range(samples), plan.tasks, plan.agents):
        k = plan.number(Job(agent.id, task.task_id, sample).job_id)
        yield make_request(plan, k, "chat", config)


def show(report: dict[str, Any]) -> None:
    """Print the results as tables."""
    if part := report.get("workers"):
        print(f"\n(a) one core per thread    {'tokens/s':>8} {'ratio':>6} {'once loaded':>12} {'ratio':>6}")
        for name, figures in part["medians"].items():
            both = [(figures[key], part["ratios"].get(name, {}).get(key, 1.0)) for key in figures]
            print(f"    {name:22} {both[0][0]:8.0f} {both[0][1]:6.2f} {both[1][0]:12.0f} {both[1][1]:6.2f}")
    if part := report.get("judging"):
        print(f"\n(b) judged meanwhile {'tokens/s':>14} {'lost':>8}")
        for name, figures in part["medians"].items():
            lost = 1 - part["ratios"][name]["tokens_per_s"] if name in part["ratios"] else 0.0
            print(f"    {name.replace('alone', 'nothing'):22} {figures['tokens_per_s']:8.0f} {lost:8.1%}")
    if part := report.get("ending"):
        print(f"\n(c) {part['replies']} replies, {part['ended_by_the_model']:.0%} ended by the model: ", end="")
        print(f"{part['wasted']:.2%} of {part['row_steps']} row-steps wasted; ", end="")
        print(f"static batches would waste {part['wasted_by_static_batches']:.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="abc", help="letters of the measurements to run (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="maximum length of replies in (a) and (b) (default: 64)")
    parser.add_argument(
        "--long-tokens", type=int, default=256, help="maximum length of replies in (c) (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=32, help="rows per engine (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads in (b) and (c) (default: %(default)s)")
    parser.add_argument("--judges", type=int, default=2, help="programs judged at once in (b) (default: %(default)s)")
    parser.add_argument("--window-s", type=float, default=3.0, help="seconds per measurement in (b) (default: 3)")
    parser.add_argument(
        "--windows", type=int, default=20, help="measurements of each kind in (b); medians are printed (default: 20)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds of (a); medians are printed (default: 3)")
    parser.add_argument("--json", type=Path, help="write every round here")
    options = parser.parse_args()
    report: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}}
    if "a" in options.only:
        report["workers"] = workers(options)
    if set(options.only) & set("bc"):
        made = engine(options)
        if "c" in options.only:  # before (b), which leaves requests behind
            report["ending"] = ending(made, list(requests_of_run(options.long_tokens, options)))
        if "b" in options.only:
            report["judging"] = judging(made, requests_of_run(options.tokens, options, samples=100_000), options)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
