"""Comparison of our load generator with guidellm, an independent one, on the same server.

    python -m venv /tmp/guidellm && /tmp/guidellm/bin/pip install guidellm==0.8.1  # several GB: it brings torch
    python benchmarks/load_generators.py --guidellm /tmp/guidellm/bin/guidellm [--model scripted|embedded]
                                         [--load 1,4,5/s] [--requests N] [--rounds N] [--step-ms MS] [--json FILE]

The server is `main.py serve` over a scripted worker (64 rows, 64 lines, one line per step) or over the bundled model
(8 rows, greedy, at most 64 tokens). Both generators send the same prompts in the same order, in turn: ours, theirs,
ours, theirs. A level is a number of clients (closed loop) or of Poisson arrivals per second (open loop), where each
generator draws its own arrivals. Ours is swarmeval.loadtest.generator over `fleet: endpoint`.

Both connect through a proxy (witness.py) that forwards everything and takes its own times. Printed are the medians over
all rounds, their ratio (theirs / ours) overall and per round, and the same from the proxy's times. The proxy separates
a difference in what the requests experienced from a difference in how they are measured. "left" is the ratio of theirs
to the proxy's times, divided by that of ours; it should be within 5 % of 1. Also printed per round: the answers counted
by each, the places at which their orders differ (clients of a closed loop can overtake each other), and the prompts
with different answers.

Definitions of the two:
* Start: ours counts from the intended start of a request; theirs from the first byte of its header, when the body is
  built and the connection is open.
* First token: for both, the first piece with text, not a chunk that only names the role.
* TPOT, which they call inter-token latency: (last piece - first piece) / (tokens - 1), with the tokens of the server's
  usage. Their "time per output token" includes the first token and is not used.
* Latency: ours ends with the last piece; theirs at the end of the response, after the chunks with finish reason and
  usage.
* Load: in a closed loop, theirs sends the next request about 10 ms after an answer, ours at once. A worker accepts
  requests between its steps, so a request that arrives just after the start of a step waits for the end of that step.
  Open-loop arrivals do not depend on the generator.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.serving import answer, server, settings
from benchmarks.witness import ObservedTimes, witness
from human_eval_runner import load_tasks
from swarmeval.loadtest.arrivals import PER_SECOND, Closed, Level, Open, Pattern
from swarmeval.loadtest.generator import RequestResult, generate_load
from swarmeval.requests import Message, Request, Sampling
from swarmeval.session import fleet_choice

TOKENS = 64
SEED = TOKENS - 1  # a scripted worker reports 64 tokens for it
FIGURES = ("ttft_s", "tpot_s", "latency_s")


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """One request as measured by its generator."""

    prompt: str
    text: str
    output_tokens: int
    ttft_s: float
    tpot_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class GeneratorRound:
    """One generator's measurements of one round, and the proxy's."""

    timed: Sequence[TimedRequest]
    witnessed: Sequence[ObservedTimes]


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """The requests for both generators, and the server to send them to."""

    url: str
    model: str
    prompts: Sequence[str]
    pattern: Pattern


def scripted_prompts(count: int) -> list[str]:
    """Prompts whose scripted answers have as many lines as steps, so that each piece is one line."""
    body = [f"    total += {line}\n" for line in range(TOKENS - 4)]
    return [f"```python\ndef add_{number}(total):\n{''.join(body)}```" for number in range(count)]


def prompts_of_tasks(count: int) -> list[str]:
    return [f"Complete this function.\n```python\n{task.prompt.rstrip()}\n```" for task in load_tasks(count)]


async def ours(load: LoadSpec) -> list[TimedRequest]:
    config = settings(
        "fleet=endpoint", f"endpoint.urls=[{load.url}]", f"model_id={load.model}", f"max_new_tokens={TOKENS}",
        "do_sample=false", "prompt_mode=chat",
    )  # fmt: skip
    sampling = Sampling(TOKENS, do_sample=False)
    texts: dict[int, str] = {}
    began: dict[str, float] = {}
    timed: list[TimedRequest] = []
    async with fleet_choice.choose(config).make(None) as fleet:
        worker = fleet.workers[0]
        await worker.start()

        async def ask(number: int) -> RequestResult:
            request = Request(str(number), SEED, sampling, (Message("user", load.prompts[number]),), stream=True)
            times, reply = await answer(worker, request)
            texts[number] = reply.text
            return times

        async for one in generate_load(Level(load.pattern, count=len(load.prompts)), ask):
            if one.ttft_s is None or one.tpot_s is None or one.output_tokens is None:
                raise SystemExit(f"request {one.number} got {one.output_tokens} tokens; TPOT needs at least 2")
            prompt, text = load.prompts[one.number], texts[one.number]
            timed.append(TimedRequest(prompt, text, one.output_tokens, one.ttft_s, one.tpot_s, one.latency_s))
            began[prompt] = one.sent_s
    return sorted(timed, key=lambda one: began[one.prompt])


def theirs(load: LoadSpec, guidellm: Path) -> list[TimedRequest]:
    """Run the requests with guidellm, limited to one worker process."""
    with tempfile.TemporaryDirectory() as folder:
        written, config, report = Path(folder, "prompts.jsonl"), Path(folder, "run.json"), Path(folder, "report.json")
        written.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in load.prompts), encoding="utf-8")
        config.write_text(json.dumps({"spec": _spec(load, written, report)}), encoding="utf-8")
        done = subprocess.run(
            [guidellm, "run", "--config", config, "--disable-console"],
            cwd=folder, capture_output=True, text=True, check=False,
            env=os.environ | {"GUIDELLM__MAX_WORKER_PROCESSES": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": folder},
        )  # fmt: skip
        if done.returncode or not report.exists():
            raise SystemExit(f"guidellm failed:\n{done.stdout}{done.stderr}")
        answers = json.loads(report.read_text(encoding="utf-8"))["benchmarks"][0]["requests"]
    if answers["errored"] or answers["incomplete"]:
        raise SystemExit(f"some requests of guidellm failed: {(answers['errored'] or answers['incomplete'])[0]}")
    rows = sorted(answers["successful"], key=lambda row: row["request_start_time"])
    return [timed_by_guidellm(row) for row in rows]


def _spec(load: LoadSpec, prompts: Path, report: Path) -> dict[str, Any]:
    return {
        "backend": {
            "kind": "openai_http", "target": load.url, "model": load.model, "max_tokens": TOKENS,
            "extras": {"body": {"seed": SEED, "temperature": 0}},
        },
        "profile": _profile(load.pattern),
        "constraints": [{"kind": "max_requests", "count": len(load.prompts)}],
        "data": [{"kind": "json_file", "path": str(prompts)}],
        "outputs": [{"kind": "json", "path": str(report)}],
    }  # fmt: skip


def _profile(pattern: Pattern) -> dict[str, Any]:
    if isinstance(pattern, Open):
        return {"kind": "poisson", "rate": [pattern.rate]}
    return {"kind": "concurrent", "streams": [pattern.concurrency]}


def timed_by_guidellm(row: dict[str, Any]) -> TimedRequest:
    [message] = json.loads(row["request_args"])["body"]["messages"]
    prompt = "".join(part["text"] for part in message["content"])
    ttft_s, tpot_s = row["time_to_first_token_ms"] / 1000, row["inter_token_latency_ms"] / 1000
    return TimedRequest(prompt, row["output"], row["output_tokens"], ttft_s, tpot_s, row["request_latency"])


def compared(level: str, rounds: Sequence[tuple[GeneratorRound, GeneratorRound]]) -> dict[str, Any]:
    """The figures of one level, and whether both generators sent and received the same texts."""
    figures: dict[str, Any] = {"level": level, "rounds": [agreement(a, b) for a, b in rounds]}
    for name in FIGURES:
        our_requests, their_requests = ([one for pair in rounds for one in pair[which].timed] for which in (0, 1))
        figures[name] = side_by_side(median(our_requests, name), median(their_requests, name))
        figures[name]["of_each_round"] = [median(b.timed, name) / median(a.timed, name) for a, b in rounds]
        our_witnessed, their_witnessed = ([one for pair in rounds for one in pair[which].witnessed] for which in (0, 1))
        figures[name]["witness"] = side_by_side(median(our_witnessed, name), median(their_witnessed, name))
        figures[name]["left"] = figures[name]["ratio"] / figures[name]["witness"]["ratio"]
    return figures


def agreement(ours: GeneratorRound, theirs: GeneratorRound) -> dict[str, Any]:
    """Compare the two generators in one round: numbers of answers, orders of prompts, and texts of answers."""
    pairs = zip(ours.timed, theirs.timed, strict=False)
    mine, other = answers(ours), answers(theirs)
    return {
        "ours": len(ours.timed),
        "theirs": len(theirs.timed),
        "places_that_differ": sum(a.prompt != b.prompt for a, b in pairs),
        "prompts_of_one_alone": len(mine.keys() ^ other.keys()),
        "answers_that_differ": sum(mine[prompt] != other[prompt] for prompt in mine.keys() & other.keys()),
    }


def median(of: Sequence[TimedRequest] | Sequence[ObservedTimes], name: str) -> float:
    values: list[float] = [getattr(one, name) for one in of]
    return statistics.median(values)


def answers(generator_round: GeneratorRound) -> dict[str, tuple[str, int]]:
    return {one.prompt: (one.text, one.output_tokens) for one in generator_round.timed}


def side_by_side(mine: float, other: float) -> dict[str, Any]:
    return {"ours": mine, "theirs": other, "ratio": other / mine}


def show(level: dict[str, Any]) -> None:
    print(f"{level['level']}; milliseconds:")
    for name in FIGURES:
        row, seen = level[name], level[name]["witness"]
        each = " ".join(f"{ratio:.3f}" for ratio in row["of_each_round"])
        print(
            f"  {name.removesuffix('_s'):<8}{figures(row)} ({each})   witness {figures(seen)}   left {row['left']:.3f}"
        )
    for number, row in enumerate(level["rounds"]):
        summary = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items())
        print(f"  round {number}: {summary}", flush=True)


def figures(row: dict[str, Any]) -> str:
    return f"ours {1000 * row['ours']:8.2f}  theirs {1000 * row['theirs']:8.2f}  ratio {row['ratio']:.3f}"


def served(model: str, folder: str, step_s: float) -> AbstractContextManager[tuple[str, int]]:
    if model == "embedded":
        return server("replica.rows=8", f"max_new_tokens={TOKENS}")
    script = Path(folder, "script.json")
    script.write_text(json.dumps({"rows": 64, "steps": TOKENS, "step_s": step_s}), encoding="utf-8")
    return server("engine=scripted", f"model_id={script}")


def pattern(spec: str) -> Pattern:
    if spec.endswith(PER_SECOND):
        return Open(float(spec.removesuffix(PER_SECOND)))
    return Closed(int(spec))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guidellm", type=Path, required=True, help="the guidellm executable, in its own environment")
    parser.add_argument("--model", choices=("scripted", "embedded"), default="scripted")
    parser.add_argument("--load", default="1,4", help="levels: number of clients, or requests per second, like 5/s")
    parser.add_argument("--requests", type=int, default=24, help="requests per generator and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step-ms", type=float, default=40.0, help="time of a scripted worker per line")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prompts = (scripted_prompts if options.model == "scripted" else prompts_of_tasks)(options.requests)
    guidellm = options.guidellm.absolute()
    version = subprocess.run([guidellm, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{version}; {options.model}, {options.rounds} rounds of {len(prompts)} requests each", flush=True)
    levels = []
    with (
        tempfile.TemporaryDirectory() as folder,
        served(options.model, folder, options.step_ms / 1000) as (server_url, _),
        witness(server_url) as (url, witnessed),
    ):

        def round_of(timed: Sequence[TimedRequest]) -> GeneratorRound:
            return GeneratorRound(timed, witnessed()[-len(timed) :])  # skips the test request at the worker's start

        for spec in options.load.split(","):
            load = LoadSpec(url, options.model, prompts, pattern(spec))
            rounds = [
                (round_of(asyncio.run(ours(load))), round_of(theirs(load, guidellm))) for _ in range(options.rounds)
            ]
            levels.append(compared(str(load.pattern), rounds))
            show(levels[-1])
    if options.json:
        report = {"their_version": version, "model": options.model, "levels": levels}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
