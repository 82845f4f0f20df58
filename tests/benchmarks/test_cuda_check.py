"""`benchmarks/cuda_check.py`: a rehearsal of all steps on the CPU, its processes, and checks that must fail."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import cuda_check, cuda_engine, cuda_logits, cuda_parts, cuda_plan
from benchmarks.cuda_check import STEPS, Process
from benchmarks.cuda_parts import Absent, Part
from tests.support import tiny_model
from tests.support.checkout import ROOT
from tests.support.graph_recorder import Scarce, Stale, Tape, recorded
from tests.support.tiny_engine import WARM, engine, requests

pytestmark = pytest.mark.usefixtures("one_thread")

COMMAND = [sys.executable, "benchmarks/cuda_check.py"]
BARE = ("msgspec", "pydantic", "bitsandbytes", "vllm")  # what a bare machine may lack
ON_BARE = f"""
import sys
for name in {BARE}:
    sys.modules[name] = None
import torch
torch.set_num_threads(1)
from benchmarks import cuda_device, cuda_engine, cuda_logits, cuda_parts, cuda_speed
for step in (cuda_logits.parts, cuda_speed.steps, cuda_speed.kernels, cuda_device.attend_alone, cuda_engine.parts,
             cuda_speed.peers):
    cuda_parts.run(step("cpu"), sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported_in_one_line() -> None:
    ended = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "cuda_check: torch found no CUDA device; run this on a machine with a GPU\n"


@pytest.mark.slow
@pytest.mark.timeout(900)  # under a minute on two idle cores
def test_every_step_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    saved = tmp_path / "lines.jsonl"
    ended = subprocess.run(
        [*COMMAND, "--device", "cpu", "--json", str(saved)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert saved.read_text() == ended.stdout
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["step"] for line in lines] == list(STEPS)
    assert all(line["ended"] == "done" and line["wrong"] == [] for line in lines)
    aims = [figure for line in lines for figure in line["aims"].values()]
    assert aims == [None] * 6  # times of a CPU say nothing about them
    found = {number: lines[number - 1]["parts"] for number in STEPS}
    assert found[2]["no waiting of the host"]["passed"]
    assert found[3]["unpacked, pages, CUDA graphs, 8 rows"]["tokens_per_s"] > 0
    assert found[3]["unpacked, fused, pages, CUDA graphs, 8 rows"]["tokens_per_s"] > 0
    assert found[3]["packed, slots, 2 rows"]["step_ms"] >= 0
    assert len(found[4]["kernels, 8 rows"]["costliest"]) == 15
    assert found[4]["captures"]["graphs"] > 1
    assert found[5]["pages, portable reference, 8 rows"]["layer_ms"] > 0
    assert found[6]["running out of memory halves the rows"]["rows_after"] == 2
    assert found[6]["main.py: two tasks, one worker"]["answers"] == 6
    assert found[7]["our engine with branches, fused"]["shared"] >= 1


@pytest.mark.slow
def test_steps_run_without_the_packages_that_a_bare_machine_lacks() -> None:
    ended = subprocess.run([sys.executable, "-c", ON_BARE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    parts = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [part for part in parts if "failed" in part or part.get("passed") is False] == []
    needed = {name for part in parts for name in part.get("needs", ())}
    assert {"bitsandbytes", "msgspec", "pydantic", "vllm"} <= needed
    assert {part["part"] for part in parts if "tokens_per_s" in part} >= {"unpacked, slots, 2 rows"}


@pytest.mark.slow
def test_an_interrupted_check_keeps_what_was_measured() -> None:
    with subprocess.Popen(
        [*COMMAND, "--device", "cpu", "--only", "3"], cwd=ROOT, stdout=-1, stderr=-1, text=True
    ) as running:
        assert running.stderr is not None
        next(line for line in running.stderr if '"part"' in line)
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate()
    line = json.loads(out)
    assert (running.returncode, line["ended"]) == (130, "interrupted")
    assert "unpacked, fused: the model" in line["parts"]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_step_that_does_not_end_by_itself_has_a_line(killed: bool) -> None:
    with ExitStack() as ends:
        process = Process(3, "cpu", ends, limit_s=60.0 if killed else 0.01)
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.begin()
        line = process.line()
    ended = "signal 9" if killed else "stopped at its limit of 0.01 s"
    assert (line["step"], line["ended"], line["parts"]) == (3, ended, {})


def test_a_part_that_fails_or_needs_something_leaves_the_others_alone() -> None:
    def fails(error: Exception) -> Callable[[], Mapping[str, Any]]:
        def work() -> Mapping[str, Any]:
            raise error

        return work

    lines = io.StringIO()
    parts = [
        Part("a", fails(RuntimeError("made up"))),
        Part("b", fails(Absent("a tool"))),
        Part("c", fails(torch.OutOfMemoryError("CUDA out of memory"))),
        Part("d", fails(RuntimeError("not called")), needs=("json", "no_such_module")),
        Part("e", lambda: {"ms": 1.5}),
    ]
    cuda_parts.run(parts, lines)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [{key: part[key] for key in part if key != "seconds"} for part in found] == [
        {"part": "a", "failed": "RuntimeError: made up"},
        {"part": "b", "needs": ["a tool"]},
        {"part": "c", "needs": ["more memory"]},
        {"part": "d", "needs": ["no_such_module"]},
        {"part": "e", "ms": 1.5},
    ]


def test_the_largest_figure_stands_beside_its_aim() -> None:
    parts: dict[str, dict[str, Any]] = {
        "unpacked, slots, 256 rows": {"tokens_per_s": 7000.0},
        "unpacked, pages, CUDA graphs, 256 rows": {"tokens_per_s": 13000.0},
        "unpacked, pages, 64 rows": {"failed": "RuntimeError"},
        "packed, slots, 256 rows": {"tokens_per_s": 99999.0},
    }
    assert list(cuda_check.aims(STEPS[3], parts, "cuda").values()) == [13000.0, None]
    assert list(cuda_check.aims(STEPS[3], parts, "cpu").values()) == [None, None]


def test_the_plan_names_every_package_and_six_minutes() -> None:
    text = "\n".join(cuda_plan.plan(STEPS, ROOT))
    needs = {module for step in STEPS.values() for module in step.needs}
    assert needs <= set(cuda_plan.DISTRIBUTIONS)
    assert all(name in text for name in cuda_plan.DISTRIBUTIONS.values())
    assert sum(step.limit_s for step in STEPS.values()) <= 360
    assert text.splitlines()[-1].split()[-1] == str(sum(step.limit_s for step in STEPS.values()))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), cuda_logits.FAMILIES)
def test_every_family_has_the_logits_of_plain_decoding(name: str, changes: dict[str, object]) -> None:
    listed = (name, changes) in tiny_model.FULL_ATTENTION
    found = cuda_logits.compared(lambda: tiny_model.family(name, **changes), "fp32", "cpu", listed)
    assert found["passed"], found
    assert len(found["differences"]) == (8 if listed else 2)


def test_a_replay_that_goes_wrong_differs_from_plain_decoding() -> None:
    model, rows = tiny_model.model(), cuda_logits.ROWS
    with torch.inference_mode():
        right, _ = cuda_logits.difference(model, recorded(Tape(), rows, model))
        stale, _ = cuda_logits.difference(model, recorded(Stale(), rows, model))
    assert right < 1e-4
    assert stale > 0.5


@pytest.mark.parametrize(
    ("times", "passed", "after", "answered"), [(2, True, 2, 6), (0, False, 8, 6), (9, False, 1, 0)]
)
def test_out_of_memory_must_halve_the_rows(times: int, passed: bool, after: int, answered: int) -> None:
    served = engine(8, decoder=recorded(Scarce(times)))
    found = cuda_engine.halved(served, requests(6, WARM))
    assert (found["passed"], found["rows_after"], found["answered"]) == (passed, after, answered)
