"""The doctor names what keeps a benchmark from being judged here."""

import json
from pathlib import Path

import pytest

from swarmeval.doctor.finding import Finding
from swarmeval.doctor.judging import benchmark
from swarmeval.settings.run_config import RunConfig

ROW = {"task_id": "Own/0", "language": "lua", "question": "Print 1.", "cases": [{"expected": "1"}]}


def test_a_missing_toolchain_makes_a_machine_unfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW))
    config = RunConfig(benchmark="custom", benchmark_file=str(tmp_path / "rows.jsonl"))
    monkeypatch.setenv("PATH", str(tmp_path))
    said = "lua: 'lua' is not installed; run: apt install lua5.4"
    remedy = "scripts/toolchains installs all of them (as root)"
    assert list(benchmark(config)) == [Finding("toolchains", "UNFIT", said, remedy)]
