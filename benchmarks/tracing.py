"""Overhead of --trace: the same run of the bundled model with and without it, in turn.

    python benchmarks/tracing.py [--agents N] [--tasks N] [--tokens N] [--repeat N] [--engine hf|scripted] [--json FILE]

Each figure comes from a new `python main.py` process. CPU seconds are summed over all its processes; on a shared
machine they are more reliable than wall time.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {"tokens_per_s": "tokens/s", "wall_s": "whole run, s", "cpu_s": "CPU of all processes, s"}


def measure(options: argparse.Namespace, traced: bool) -> dict[str, float]:
    """Run main.py once in a temporary folder and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--config", "config/smoke.yaml", "--output_dir", folder]
        arguments += ["--num_agents", str(options.agents), "--num_tasks", str(options.tasks)]
        arguments += ["--trace"] if traced else []
        settings = [f"max_new_tokens={options.tokens}", f"engine={options.engine}", "eval_timeout_scale=2"]
        before, began = _cpu_s(), time.perf_counter()
        subprocess.run(
            [sys.executable, "main.py", *arguments, "--set", *settings], cwd=ROOT, check=True, capture_output=True
        )
        wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - before
        score = json.loads(Path(folder, "score.json").read_text(encoding="utf-8"))
        made = [path.stat().st_size for pattern in ("trace*", "flame_*") for path in Path(folder).glob(pattern)]
    return {
        "tokens_per_s": score["tokens_per_s"], "wall_s": wall_s, "cpu_s": cpu_s, "files_mb": sum(made) / 1e6,
    }  # fmt: skip


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument(
        "--repeat", type=int, default=5, help="rounds of one run with and one without; medians are printed"
    )
    parser.add_argument("--engine", choices=("hf", "scripted"), default="hf")
    parser.add_argument("--json", type=Path, help="write every run here")
    options = parser.parse_args()
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for number in range(options.repeat):
        for traced in (False, True) if number % 2 == 0 else (True, False):
            runs[traced].append(measure(options, traced))
            print(f"round {number + 1}, {'with' if traced else 'without'}: {runs[traced][-1]}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps({"without": runs[False], "with": runs[True]}, indent=2), encoding="utf-8")
    print("| medians | without | with `--trace` | ratio per round |\n|---|---|---|---|")
    for key, name in COLUMNS.items():
        plain, costly = [run[key] for run in runs[False]], [run[key] for run in runs[True]]
        ratios = ", ".join(f"{after / before:.2f}" for before, after in zip(plain, costly, strict=True))
        print(f"| {name} | {statistics.median(plain):.1f} | {statistics.median(costly):.1f} | {ratios} |")
    sizes_mb = [run["files_mb"] for run in runs[True]]
    print(f"\nThe files of a traced run: {statistics.median(sizes_mb):.1f} MB")


if __name__ == "__main__":
    main()
