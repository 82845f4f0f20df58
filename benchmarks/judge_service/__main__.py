"""The judge over HTTP against the same judge in process: programs/s, and the memory of the server over many verdicts.

    python benchmarks/judge_service [--clients N] [--batch N] [--programs N] [--rounds N] [--workers N] [--json F]
    python benchmarks/judge_service --verdicts N [--minutes M] [--repeats N] [--clients N] [--batch N] [--json F]

Both judge canonical solutions of HumanEval, with all sandbox layers. Each program ends with a comment of its own, so
that every one is executed. Both are started once and take turns in each round, so that other work on the machine meets
both: the judge in this process, and the clients of this process with the server in another. The clients' own work
counts against the server, because they use the same cores.

CPU time per program covers clients, server and sandbox. Unlike programs/s, it hardly depends on other work.

The second form sends N verdicts or as many as fit in M minutes, and samples the memory (RSS) of the server process and
of all its children. Of 8 items, 6 answer the benchmark, one states tests and a reference solution of its own, and
one is an executed program.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import aiohttp
import psutil

from human_eval_runner import Judge, load_tasks
from swarmeval.records import Completion, Job
from tests.support.judge_server import ADD, SUM, JudgeClient, judging

NUMBERS = itertools.count()  # makes every program of this process different
SAMPLES = 40  # lines of the table of memory
MB = 1 << 20

Item = dict[str, Any]


def items(count: int) -> list[Item]:
    """Right answers to HumanEval's tasks, in turn; no two are equal."""
    tasks = itertools.cycle(load_tasks())
    chosen = zip(range(count), tasks, NUMBERS, strict=False)
    return [{"id": n, "task": task.task_id, "completion": f"{task.reference}    # {n}\n"} for _, task, n in chosen]


def mixed() -> Iterator[Item]:
    """Items without end that fill every cache of the server."""
    for task, number in zip(itertools.cycle(load_tasks()), NUMBERS, strict=False):
        kind, named = number % 8, {"id": number}
        if kind == 6:
            test = f"def check(f):\n    assert f({number}) == {2 * number}\n"
            stated = {
                "entry_point": "f",
                "prompt": "def f(x):\n",
                "test": test,
                "canonical_solution": "    return x * 2\n",
            }
            yield {**named, "task": stated, "completion": "    return 2 * x\n"}
        elif kind == 7:
            yield {**named, "task": SUM, "solution": f"{ADD}# {number}"}
        else:
            yield {**named, "task": task.task_id, "completion": f"{task.reference}    # {number}\n"}


async def in_process(judge: Judge, work: Sequence[Item], workers: int) -> Counter[str]:
    waiting, outcomes = iter(work), Counter[str]()

    async def drain() -> None:
        for item in waiting:
            job_id = Job(0, item["task"], item["id"]).job_id
            outcomes[(await judge.judge(Completion(job_id, item["completion"], "completion"))).outcome] += 1

    await asyncio.gather(*(drain() for _ in range(2 * workers)))
    return outcomes


async def over_http(client: JudgeClient, work: Iterator[Item], clients: int, batch: int) -> Counter[str]:
    """Send the items from this number of clients, each with one batch at a time."""
    outcomes = Counter[str]()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(600)) as session:

        async def drain() -> None:
            while chosen := list(itertools.islice(work, batch)):
                async with session.post(f"{client.root}/v1/verdicts", json={"items": chosen}) as answer:
                    answer.raise_for_status()
                    async for line in answer.content:
                        outcomes[json.loads(line).get("outcome", "failed")] += 1

        await asyncio.gather(*(drain() for _ in range(clients)))
    return outcomes


async def race(options: argparse.Namespace, client: JudgeClient) -> dict[str, Any]:
    """Let both judge the same number of programs per round, in alternating order."""
    speeds: dict[str, list[float]] = {"in process": [], "over HTTP": []}
    costs: dict[str, list[float]] = {"in process": [], "over HTTP": []}
    async with Judge(load_tasks(), options.workers, timeout_s=10.0, memory_mb=4096) as judge:
        for number in range(-1, options.rounds):  # the first warms both up
            for name in sorted(speeds, reverse=bool(number % 2)):
                work = items(options.programs)
                began, cpu_began = time.perf_counter(), cpu_s()
                if name == "in process":
                    outcomes = await in_process(judge, work, options.workers)
                else:
                    outcomes = await over_http(client, iter(work), options.clients, options.batch)
                speed = options.programs / (time.perf_counter() - began)
                assert outcomes == {"PASSED": options.programs}, outcomes
                if number >= 0:
                    speeds[name].append(speed)
                    costs[name].append(1000 * (cpu_s() - cpu_began) / options.programs)
                    shown = f"{speed:.1f} programs/s, {costs[name][-1]:.1f} ms of CPU time per program"
                    print(f"round {number + 1}, {name}: {shown}", file=sys.stderr, flush=True)
    share = statistics.median(http / own for own, http in zip(*speeds.values(), strict=True))
    cpu_share = statistics.median(own / http for own, http in zip(*costs.values(), strict=True))
    return {"programs_per_s": speeds, "cpu_ms_per_program": costs, "share": share, "share_by_cpu": cpu_share}


async def endure(options: argparse.Namespace, client: JudgeClient) -> dict[str, Any]:
    """Send many verdicts and sample the memory of the server."""
    server, began, sent = psutil.Process(client.pid), time.monotonic(), 0
    samples: list[dict[str, float]] = []
    outcomes: Counter[str] = Counter()
    step = max(options.batch * options.clients, options.verdicts // SAMPLES)
    sent_again = itertools.chain.from_iterable(itertools.repeat(item, options.repeats) for item in mixed())
    endless = ({**item, "id": number} for number, item in enumerate(sent_again))
    while sent < options.verdicts and time.monotonic() - began < 60 * options.minutes:
        outcomes += await over_http(client, itertools.islice(endless, step), options.clients, options.batch)
        sent += step
        children = sum(rss(child) for child in server.children(recursive=True))
        sample = {"verdicts": sent, "server_mb": rss(server) / MB, "children_mb": children / MB}
        samples.append({**sample, "minutes": (time.monotonic() - began) / 60})
        print(" ".join(f"{key} {value:.1f}" for key, value in samples[-1].items()), file=sys.stderr, flush=True)
    return {"samples": samples, "outcomes": outcomes}


def cpu_s() -> float:
    """CPU time of this process and all its descendants, including those that have ended."""
    used = 0.0
    for process in (own := psutil.Process(), *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])
    return used


def rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def table(found: dict[str, Any]) -> str:
    if "samples" in found:
        rows = [f"| {s['verdicts']:,.0f} | {s['server_mb']:.0f} | {s['children_mb']:.0f} |" for s in found["samples"]]
        return "\n".join(["| verdicts | server, MB | its children, MB |", "|---|---|---|", *rows])
    medians = {name: statistics.median(speeds) for name, speeds in found["programs_per_s"].items()}
    costs = {name: statistics.median(spent) for name, spent in found["cpu_ms_per_program"].items()}
    rows = [f"| {name} | {speed:.1f} | {costs[name]:.1f} |" for name, speed in medians.items()]
    share = f"over HTTP, as a share of in process: {found['share']:.1%}; by CPU time {found['share_by_cpu']:.1%}"
    head = ["| judge | programs/s (median) | ms of CPU time per program |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", f"{share} (medians of the rounds)"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--programs", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--verdicts", type=int, default=0, help="measure memory over this number of verdicts instead")
    parser.add_argument("--repeats", type=int, default=1, help="how often each of these items is sent")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = ["judge_service.languages=[python]", "judge_service.queue=100000"]
    with judging(*settings, workers=options.workers) as (client,):
        found = asyncio.run((endure if options.verdicts else race)(options, client))
    chosen = {name: value for name, value in vars(options).items() if name != "json"}
    text = json.dumps({"options": chosen, **found}, indent=1)
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    print(text)
    print(table(found))


if __name__ == "__main__":
    main()
