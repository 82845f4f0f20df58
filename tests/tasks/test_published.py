"""The licences of published files, and the checksums of those that are known."""

import gzip
import hashlib
import json
import logging
import re
from pathlib import Path

import pytest

from swarmeval.tasks.catalog import REGISTRY, load
from swarmeval.tasks.published import SHA256
from tests.support.checkout import ROOT

PUBLISHED = ROOT.parent / "shared" / "data"  # the published files, if present
UNKNOWN = {"bigcodebench_hard_complete", "bigcodebench_hard_instruct", "custom"}
ROW = {"id": "sample_0", "code": "def f(n):\n    return n + 1", "input": "16", "output": "17"}


def test_every_benchmark_has_a_licence_where_one_is_published() -> None:
    assert {name for name, benchmark in REGISTRY.items() if not benchmark.licence} == UNKNOWN


def test_the_manual_states_the_licence_of_every_benchmark() -> None:
    manual = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \|.*\| (.*?) \|$", manual, re.MULTILINE)
    stated = {name: licence for names, licence in rows for name in re.findall(r"`(\w+)`", names)}
    assert [name for name, entry in REGISTRY.items() if not stated[name].startswith(entry.licence)] == []
    assert stated["bigcodebench_hard_complete"] == "Apache-2.0; hard: not stated"


def test_a_changed_copy_of_a_published_file_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "cruxeval.jsonl"
    file.write_text(json.dumps(ROW))
    found = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    said = f"not the published file of this name (sha256 {found}..., published 8368b81047dc...)"
    with caplog.at_level(logging.WARNING, "swarmeval"):
        assert load("cruxeval_o", str(file)).facts()["note"] == said
    assert caplog.messages == [f"{file}: {said}; its score is not comparable"]


@pytest.mark.parametrize(("benchmark", "name"), [("cruxeval_o", "own.jsonl"), ("custom", "cruxeval.jsonl")])
def test_a_file_that_claims_no_published_name_has_no_note(tmp_path: Path, benchmark: str, name: str) -> None:
    row = {"task_id": "Own/0", "language": "bash", "question": "Print 1.", "cases": [{"expected": "1"}]}
    file = tmp_path / name
    file.write_text(json.dumps(row if benchmark == "custom" else ROW))
    assert "note" not in load(benchmark, str(file)).facts()


def test_a_packed_infilling_file_is_compared_as_stored(tmp_path: Path) -> None:
    row = dict.fromkeys(("task_id", "prompt", "suffix", "canonical_solution", "entry_point"), "x")
    file = tmp_path / "HumanEval-RandomSpanInfilling.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({**row, "test": "assert x"}).encode()))
    assert "published b4f330d8a8ff..." in str(load("humaneval_infilling_random_span", str(file)).facts()["note"])


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not beside this checkout")
@pytest.mark.parametrize("name", ["mbpp.jsonl", "humaneval_pro.json", "mbpp_pro.json", "cruxeval.jsonl"])
def test_the_checksums_are_those_of_the_published_files(name: str) -> None:
    assert hashlib.sha256((PUBLISHED / name).read_bytes()).hexdigest() == SHA256[name]
