"""The doctor on a benchmark of executed tasks: its toolchains and its reference programs."""

import json
from pathlib import Path

import pytest

from swarmeval.doctor.judging import benchmark
from swarmeval.settings.run_config import RunConfig


@pytest.mark.slow
def test_toolchains_and_references_of_executed_tasks_are_checked(tmp_path: Path) -> None:
    row = {"language": "bash", "question": "Print hello.", "cases": [{"expected": "hello"}]}
    texts = {"good": "echo hello", "bad": "echo bye"}
    rows = [{"task_id": name, "reference": text, **row} for name, text in texts.items()]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    found = list(benchmark(RunConfig(benchmark="custom", benchmark_file=str(file), eval_workers=1)))
    assert [(one.subject, one.state) for one in found] == [
        ("toolchains", "ok"), ("references", "note"), ("trivial", "ok"),
    ]  # fmt: skip
    assert "bash" in found[0].text
    assert found[1].text == "1 of 2 reference solutions of custom pass; failing: bad"
