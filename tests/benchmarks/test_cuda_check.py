"""`benchmarks/cuda_check.py` on a machine without a GPU, and its checks run on the CPU."""

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from benchmarks import cuda_check, cuda_claims
from benchmarks.peers import RoundCost
from model_loader import LoadedModel
from tests.support import tiny_model
from tests.support.checkout import ROOT
from tests.support.graph_recorder import Scarce, Stale, Tape, recorded, refusing
from tests.support.tiny_engine import WARM, engine, generated, requests

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "benchmarks/cuda_check.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "cuda_check: torch found no CUDA device; run this on a machine with a GPU\n"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), cuda_claims.FAMILIES)
def test_every_family_gives_the_replies_of_generate(name: str, changes: dict[str, object]) -> None:
    check = cuda_claims.family_check(name, changes, "cpu", Tape().begin)
    assert check.passed, check


def test_logits_of_every_decoder_are_compared() -> None:
    found = cuda_claims.logits_checks(tiny_model.model(), Tape().begin)
    assert [(check.passed, check.name.rpartition(": ")[2]) for check in found] == [
        (True, "slots"), (True, "slots, prompts shared"), (True, "slots, CUDA graphs"), (True, "steps can be recorded")
    ]  # fmt: skip


def test_graphs_that_go_wrong_or_cannot_be_recorded_fail_their_check() -> None:
    stale = cuda_claims.logits_checks(tiny_model.model(), Stale().begin)
    assert [check.passed for check in stale] == [True, True, False, True]
    refused = cuda_claims.logits_checks(tiny_model.model(), refusing(RuntimeError("no")))
    assert [check.passed for check in refused] == [True, True, True, False]
    assert refused[-1].found == "RuntimeError: no"


@pytest.mark.slow
def test_replies_with_few_and_many_rows_are_counted() -> None:
    check = cuda_claims.share_check(engine(2), engine(8), requests(10, WARM))
    assert (check.passed, check.found) == (None, "10 of 10")  # fp32: rounding changes no reply


@pytest.mark.parametrize(
    ("times", "passed", "found"),
    [
        (2, True, "rows 8 -> 2, 6 of 6 answered"),
        (0, False, "memory never ran short, 6 of 6 answered"),
        (9, False, "not even one row fits: made up"),
    ],
)
def test_out_of_memory_must_halve_the_rows(times: int, passed: bool, found: str) -> None:
    served = engine(8, decoder=recorded(Scarce(times)))
    check = cuda_claims.memory_check(served, requests(6, WARM), nullcontext())
    assert (check.passed, check.found) == (passed, found)


@pytest.mark.slow
def test_a_batch_of_generate_equals_its_single_rows() -> None:
    model, tokenizer, wanted = tiny_model.model(), tiny_model.tokenizer(), requests(4)
    rows = cuda_claims.generated(model, tokenizer, wanted)
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in rows] == [generated(one) for one in wanted]


@pytest.mark.slow
def test_generate_as_a_contestant_answers_whole_batches_without_an_end() -> None:
    loaded = LoadedModel(tiny_model.model(), tiny_model.tokenizer(), "fp32", "fp32", 0.0, 0.0)
    assert cuda_check.peer(loaded, requests(10), size=4)().tokens == 2 * 4 * 24


def test_the_table_compares_medians() -> None:
    rounds = {"a": [RoundCost(100, 1.0), RoundCost(900, 1.0), RoundCost(200, 1.0)], "b": [RoundCost(50, 1.0)]}
    assert cuda_check.table(rounds)[:3] == [
        f"    {'contestant':52}      tok/s   a / it",
        f"(a) {cuda_check.NAMES['a']:52}        200     1.00",
        f"(g) {cuda_check.NAMES['g']:52}    not run",
    ]
    assert cuda_check.table(rounds)[4].endswith("50     4.00")
