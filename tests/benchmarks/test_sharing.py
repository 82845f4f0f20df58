"""The benchmark of shared answers: what it counts and shows."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sharing
from swarmeval.requests import Request, Sampling
from tests.support.checkout import ROOT
from tests.support.tiny_engine import engine

pytestmark = pytest.mark.usefixtures("one_thread")


def test_nodes_and_tokens_of_equal_and_different_replies_are_counted() -> None:
    greedy = Sampling(max_new_tokens=5, do_sample=False)
    one = engine(4)
    requests = [
        Request(f"{agent}/{task}/0/0", agent, greedy, text=task) for agent in range(3) for task in ("ab", "xyz")
    ]
    measured, ids = sharing.run(one, requests)
    delivered = sum(map(len, ids.values()))
    assert (measured.delivered, measured.computed, measured.nodes) == (delivered, delivered // 3, delivered // 3)
    assert (measured.forks, measured.waiting, measured.rows) == (0, 0, 2)
    again, same = sharing.run(sharing.without_sharing(one), requests)
    assert (again.computed, again.nodes, same) == (delivered, delivered // 3, ids)


class JoinCosts:
    """A decoder that records the number of tokens to prefill for each row."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.costs = inner, list[int]()

    def join(self, *row: Any) -> int:
        self.costs.append(self.inner.join(*row))
        return self.costs[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_each_run_reads_the_prompts_again() -> None:
    one = engine(4)
    one.rows.decoder = decoder = JoinCosts(one.rows.decoder)
    requests = [Request("0/t/0/0", 0, Sampling(max_new_tokens=2), text="ab" * 9)]
    for run in (one, one, sharing.without_sharing(one)):
        sharing.run(run, requests)
    first, *later = decoder.costs
    assert first >= 18
    assert later == [first, first]


def result(number: int, on_s: float, off_s: float) -> dict[str, object]:
    on = {"seconds": on_s, "delivered": 100, "computed": 25, "nodes": 25, "rows": 4, "forks": 3, "waiting": 0}
    off = on | {"seconds": off_s, "computed": 100}
    return {"case": "greedy", "round": number, "on": on, "off": off, "equal": 1.0}


def test_the_table_has_medians_of_ratios() -> None:
    head, row = sharing.table([result(0, 1.0, 8.0), result(1, 2.0, 8.0), result(2, 1.0, 6.0)]).splitlines()
    assert head.split() == ["case", "on", "off", "ratio", "shared", "/nodes", "rows", "forks", "waiting", "equal"]
    assert row.split() == ["greedy", "100", "12", "6.00", "4.00", "1.000", "4", "3", "0", "100.0%"]


def test_the_table_beside_vllm_has_the_rounds_that_both_answered() -> None:
    both = result(0, 2.0, 8.0) | {"vllm": {"tokens": 90, "seconds": 9.0}}
    head, row = sharing.beside_vllm([both, result(1, 1.0, 8.0)]).splitlines()
    assert head.split() == ["case", "ours", "vLLM", "ratio"]
    assert row.split() == ["greedy", "50", "10", "5.00"]


@pytest.mark.slow
def test_vllm_answers_the_prompts_of_a_case_once(fake_vllm: Path, tmp_path: Path) -> None:
    """Loads the bundled model; takes half a minute."""
    command = [sys.executable, "benchmarks/sharing.py", "--vllm-python", str(fake_vllm), "--only", "25, one agent"]
    size = ["--tasks", "2", "--tokens", "4", "--repeat", "2", "--json", str(tmp_path / "found.json")]
    ended = subprocess.run([*command, *size], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    assert [line.split()[:4] for line in ended.stdout.splitlines()[-1:]] == [["temperature", "0.25,", "one", "agent"]]
    first, second = json.loads((tmp_path / "found.json").read_text())["results"]
    assert (first["on"]["delivered"], first["vllm"]["tokens"]) == (8, 8)
    assert "vllm" not in second


def test_vllm_without_a_case_to_answer_is_refused(fake_vllm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sharing.parse(["--vllm-python", str(fake_vllm), "--only", "slots", "random"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].partition(": error: ")[2] == (
        "--vllm-python: vLLM answers only cases of the bundled model on pages; add one to --only"
    )


def test_cases_can_be_chosen_by_name_or_a_part_of_it() -> None:
    options = argparse.Namespace(agents=50, only=["slots", "one agent"])
    assert [case.name for case in sharing.cases(options)] == ["temperature 0.25, slots", "temperature 0.25, one agent"]
    options.only = ["temperature 0", "random"]
    assert [case.name for case in sharing.cases(options)] == ["temperature 0", "random model, sharpened"]
