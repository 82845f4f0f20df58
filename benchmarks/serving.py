"""Overhead of serving: the same requests to the fleet directly and through `main.py serve`. Also a soak test.

    python benchmarks/serving.py [--only ab] [--requests N] [--rows N] [--tokens N] [--repeat N] [--apart] [--minutes M]

(a) A worker process with the bundled model and all rows in use, driven by this process, in turn with a server over such
a worker, driven by HTTP streaming through `fleet: endpoint`. Reports output tokens/s, from the first request to the
last answer, and the CPU seconds of server and client. These share the cores with the worker, so on a machine with two
cores the worker loses this time. With --apart the worker has the first core to itself in both cases, as a GPU would;
the other processes have the rest. The aim is to lose less than 3 %.
(b) A server over a scripted worker with 64 clients for some minutes. Each client hangs up at a random moment in half of
its requests. Reports the server's open descriptors, memory and rows before, during and after. The aim: no leak.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import aiohttp
import psutil

from human_eval_runner import load_tasks
from swarmeval.loadtest.arrivals import Closed, Level
from swarmeval.loadtest.generator import RequestResult, generate_load
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.session import fleet_choice
from swarmeval.settings import loading
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.protocol import Fleet, Worker

READY = re.compile(r"ready: (http://\S+/v1), model (\S+), (\d+) rows")
CLIENTS = 64
LEAVES = 0.5  # of the requests
SCRIPT = {"rows": 16, "steps": 50, "step_s": 0.004}


@contextmanager
def server(*settings: str) -> Iterator[tuple[str, int]]:
    """Start `main.py serve` with these settings; yield its URL and PID."""
    arguments = [
        sys.executable,
        "main.py",
        "serve",
        "--config",
        "config/smoke.yaml",
        "--set",
        "serve.port=0",
        *settings,
    ]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if ready := READY.match(line):
                    break
            else:
                raise SystemExit("the server did not start")
            yield ready[1], process.pid
        finally:
            process.terminate()
            process.wait(60)


def settings(*arguments: str) -> RunConfig:
    return loading.load(str(ROOT / "config" / "smoke.yaml"), loading.from_flags({"set": list(arguments)}, {}))


def requests(config: RunConfig, number: int) -> list[Request]:
    """HumanEval as chats, task by task for all agents."""
    tasks = load_tasks(164)
    plan = Plan(make_agents(config), tasks)
    return [make_request(plan, k, "chat", config) for k in range(min(number, plan.total))]


async def answer(worker: Worker, request: Request) -> tuple[RequestResult, Reply]:
    """Send one request; return its result, timed by this process's clock, and the reply."""
    submitted = time.perf_counter()
    async with aclosing(worker.stream(request)) as items:
        async for item in items:
            if isinstance(item, Reply):
                first, last = submitted + item.ttft_s, submitted + item.latency_s
                return RequestResult(first, last, item.prompt_tokens, item.output_tokens), item
    raise SystemExit("a request was not answered")


async def tokens_per_s(fleet: Fleet, load: Sequence[Request], rows: int) -> float:
    """Output tokens/s of a closed loop with `rows` requests in flight."""
    async with fleet:
        worker = fleet.workers[0]
        await worker.start()

        async def ask(number: int) -> RequestResult:
            return (await answer(worker, load[number]))[0]

        began, tokens = time.perf_counter(), 0
        async for one in generate_load(Level(Closed(rows), count=len(load)), ask):
            tokens += one.output_tokens or 0
        return tokens / (time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Rate:
    """One pass of (a): throughput, and CPU seconds of the processes other than the worker."""

    tokens_per_s: float
    client_s: float  # of this process, including the link to the worker if there is no server
    server_s: float = 0.0


def bare(options: argparse.Namespace) -> Rate:
    config = settings(*shape(options))
    load = requests(config, options.requests)
    began = time.process_time()
    rate = asyncio.run(tokens_per_s(fleet_choice.choose(config).make(None), load, options.rows))
    return Rate(rate, time.process_time() - began)


def served(options: argparse.Namespace) -> Rate:
    with server(*shape(options)) as (url, pid):
        config = settings(
            "fleet=endpoint", f"endpoint.urls=[{url}]", f"endpoint.concurrency={options.rows}",
            f"max_new_tokens={options.tokens}", "num_agents=50",
        )  # fmt: skip
        load = requests(config, options.requests)
        client_s, server_s = time.process_time(), own_cpu_s(pid)
        rate = asyncio.run(tokens_per_s(fleet_choice.choose(config).make(None), load, options.rows))
        return Rate(rate, time.process_time() - client_s, own_cpu_s(pid) - server_s)


def own_cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def shape(options: argparse.Namespace) -> tuple[str, ...]:
    affinity = ("workers.cpu_affinity=[0]",) if options.apart else ()
    return (f"replica.rows={options.rows}", f"max_new_tokens={options.tokens}", "num_agents=50", *affinity)


@asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield http


async def misbehave(url: str, until: float, seed: int) -> tuple[int, int]:
    """Run one client that hangs up at times; return (answers, hang-ups)."""
    draw, answers, left = random.Random(seed), 0, 0
    body = {"model": "scripted", "messages": [{"role": "user", "content": "def f():"}], "stream": True}
    async with session() as http:
        while time.monotonic() < until:
            patience_s = draw.uniform(0, 0.4) if draw.random() < LEAVES else 60.0
            try:
                async with asyncio.timeout(patience_s), http.post(f"{url}/chat/completions", json=body) as response:
                    if response.status == 429:
                        await asyncio.sleep(0.1)
                        continue
                    async for _ in response.content:
                        pass
                answers += 1
            except TimeoutError:
                left += 1
    return answers, left


def state(pid: int) -> dict[str, int]:
    """Open descriptors and resident MiB of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {"descriptors": descriptors, "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") >> 20}


async def gauges(url: str) -> dict[str, float]:
    """The server's own metrics of work in progress."""
    async with session() as http, http.get(url.removesuffix("/v1") + "/metrics") as response:
        text = await response.text()
    names = ("swarmeval_in_flight", "swarmeval_waiting", "swarmeval_rows_in_use")
    return {name: float(value[1]) for name in names if (value := re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))}


async def soak(url: str, pid: int, minutes: float) -> dict[str, object]:
    await misbehave(url, time.monotonic() + 2, -1)
    looks = [state(pid)]
    until = time.monotonic() + 60 * minutes
    clients = [asyncio.create_task(misbehave(url, until, seed)) for seed in range(CLIENTS)]
    while time.monotonic() < until:
        await asyncio.sleep(max(0.0, min(60.0 * minutes / 10, until - time.monotonic())))
        looks.append(state(pid))
    counts = await asyncio.gather(*clients)
    await asyncio.sleep(3)
    return {
        "answers": sum(answers for answers, _ in counts),
        "hang_ups": sum(left for _, left in counts),
        "looks": looks,
        "after": state(pid) | await gauges(url),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="ab")
    parser.add_argument("--requests", type=int, default=192)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--apart", action="store_true", help="in (a), pin the worker to one core and leave the others free"
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: dict[str, object] = {}
    if "a" in options.only:
        pairs = [(bare(options), served(options)) for _ in range(options.repeat)]
        lost = statistics.median(1 - with_server.tokens_per_s / without.tokens_per_s for without, with_server in pairs)
        report["a"] = {"bare_and_served": [[asdict(one) for one in pair] for pair in pairs], "lost": lost}
        for without, with_server in pairs:
            print(
                f"(a) bare {without.tokens_per_s:6.0f} tokens/s   served {with_server.tokens_per_s:6.0f} tokens/s   "
                f"lost {1 - with_server.tokens_per_s / without.tokens_per_s:6.1%}   CPU time besides the worker: "
                f"bare {without.client_s:.2f} s, server {with_server.server_s:.2f} s, "
                f"client {with_server.client_s:.2f} s"
            )
        print(f"(a) lost, median of {options.repeat}: {lost:.1%}")
    if "b" in options.only:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "script.json")
            script.write_text(json.dumps(SCRIPT), encoding="utf-8")
            with server("engine=scripted", f"model_id={script}") as (url, pid):
                result = asyncio.run(soak(url, pid, options.minutes))
        report["b"] = result
        print(f"(b) {result['answers']} answers, {result['hang_ups']} hang-ups in {options.minutes:g} minutes")
        print(f"(b) server: {result['looks']}, then {result['after']}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
