"""The throughput benchmark: what it counts and shows, and how it talks to vLLM, here a small fake."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import peers, throughput, vllm_peer
from benchmarks.peers import RoundCost
from benchmarks.vllm_peer import VllmChild
from model_loader import LoadedModel
from swarmeval.requests import Request, Sampling
from tests.support import tiny_model
from tests.support.checkout import ROOT


def requests(count: int, tokens: int = 8) -> list[Request]:
    sampling = Sampling(tokens, temperature=0.8, top_p=0.95, top_k=40, repetition_penalty=1.1)
    return [Request(f"{k}/x/0/0", 2**64 - 1 - k, sampling, text=f"def f{k}(x):") for k in range(count)]


def tiny() -> LoadedModel:
    return LoadedModel(tiny_model.model(), tiny_model.tokenizer(), "fp32", "fp32", False, 0, None, 0.0)


@given(items=st.lists(st.integers(), min_size=1), count=st.integers(1, 60))
def test_a_share_is_spread_evenly_over_the_work(items: list[int], count: int) -> None:
    places = peers.spread(range(len(items)), count)
    assert len(places) == min(count, len(items))
    gaps = [after - before for before, after in zip(places, [*places[1:], len(items)], strict=True)]
    assert places[0] == 0
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@given(reply=st.lists(st.integers(0, 9)), ends=st.sets(st.integers(0, 9)))
def test_the_token_that_ends_a_text_and_what_follows_are_not_counted(reply: list[int], ends: set[int]) -> None:
    count = peers.text_tokens(reply, ends)
    assert not ends & set(reply[:count])
    assert count == len(reply) or reply[count] in ends


def test_each_prompt_reaches_vllm_with_its_seed_despite_printed_output(fake_vllm: Path) -> None:
    question = {"prompts": [[5, 6], [5, 6, 7]], "seeds": [11, 2**64 - 1], "sampling": {"max_tokens": 4}}
    with VllmChild(fake_vllm, "folder", 64, 1) as child:
        assert child.version == "0.0.fake"
        answers = [child.ask(question) for _ in range(2)]
    for answer in answers:  # the second round has no cached prompts either
        assert answer["replies"] == [[11, 2, False, 7], [2**64 - 1, 3, False, 7]]
        assert answer["seconds"] > 0
    assert child.process.returncode == 0


def test_tokens_of_vllm_are_counted_up_to_the_end_of_the_text(fake_vllm: Path) -> None:
    prompts = [(1, 2, 3), (1, 2)]
    with VllmChild(fake_vllm, "folder", 64, 1) as child:
        assert vllm_peer.vllm(child, prompts, requests(2), frozenset())().tokens == 16
        assert vllm_peer.vllm(child, prompts, requests(2), {7})().tokens == 6


def test_a_dead_vllm_is_an_error_and_leaves_no_process(fake_vllm: Path) -> None:
    child = VllmChild(fake_vllm, "", 64, 1)
    with pytest.raises(RuntimeError) as error, child:
        pass
    assert str(error.value) == f"{fake_vllm}: vLLM exited with code 1; see above"
    assert child.process.returncode == 1


ROUNDS = [
    {"a": RoundCost(300, 1.0), "b": RoundCost(50, 2.0), "e": RoundCost(200, 1.0)},
    {"a": RoundCost(500, 1.0), "b": RoundCost(50, 1.0), "e": RoundCost(200, 1.0)},
    {"a": RoundCost(400, 1.0), "b": RoundCost(50, 0.5), "e": RoundCost(200, 1.0)},
]


def test_the_table_shows_medians_and_names_who_did_not_run() -> None:
    assert throughput.table(ROUNDS).splitlines() == [
        "    contestant                                tok/s   a / it   tokens",
        "(a) ours, NF4                                   400     1.00      300",
        "(b) generate, NF4, batches of 8                  50     8.00       50",
        "(c) generate, bf16, batches of 64           not run",
        "(d) continuous batching, bf16, no penalty   not run",
        "(e) vLLM, bf16                                  200     2.00      200",
        "(f) floor: linear layers and head alone     not run",
        "(g) ours, NF4, sharing off                  not run",
        "(h) ours, NF4, native_kernels: off          not run",
    ]


def test_without_ours_nothing_is_compared() -> None:
    rates = throughput.medians([{"b": RoundCost(50, 2.0)}])
    assert rates == {"b": 25.0}
    assert throughput.ratios(rates) == {}


@dataclass(frozen=True)
class Case:
    """A contestant in this process, and how many of 6 requests its share contains."""

    make: Callable[[LoadedModel, bool], peers.Contestant]
    answered: int


CASES = {
    "static": Case(lambda loaded, stops: peers.static(loaded, requests(6), 2, 2, stops), 4),
    "continuous": Case(lambda loaded, stops: peers.continuous(loaded, requests(6), 4, stops), 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_without_stops_every_reply_has_all_its_tokens(name: str) -> None:
    loaded = tiny()
    before = loaded.model.generation_config.to_dict(), loaded.model.config._attn_implementation
    run = CASES[name].make(loaded, False)
    assert [run().tokens for _ in range(2)] == [CASES[name].answered * 8] * 2
    assert before == (loaded.model.generation_config.to_dict(), loaded.model.config._attn_implementation)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_with_stops_a_model_that_ends_at_once_gives_no_tokens(name: str) -> None:
    loaded = tiny()
    head = loaded.model.lm_head
    loaded.model.lm_head = Ending(head, loaded.tokenizer.eos_token_id)
    assert CASES[name].make(loaded, True)().tokens == 0


class Ending(torch.nn.Module):
    """A head that always chooses the same token."""

    def __init__(self, head: Any, token: int) -> None:
        super().__init__()
        self.head, self.token = head, token

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(hidden)
        return logits.scatter(-1, torch.full_like(logits[..., :1], self.token, dtype=torch.long), 1e4)


@pytest.mark.slow
def test_the_whole_command_runs_ours_and_its_peers(fake_vllm: Path, tmp_path: Path) -> None:
    """Loads the bundled model; takes half a minute."""
    command = [sys.executable, "benchmarks/throughput.py", "--vllm-python", str(fake_vllm), "--only", "acde"]
    size = ["--tasks", "2", "--agents", "2", "--tokens", "4", "--repeat", "1", "--json", str(tmp_path / "found.json")]
    ended = subprocess.run([*command, *size], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout.splitlines()[-8:]
    assert [line[1] for line in shown if line.endswith(" 16")] == ["a", "c", "d", "e"]
    assert [line[1] for line in shown if line.endswith("not run")] == ["b", "f", "g", "h"]
    assert '"a_over_it"' in (tmp_path / "found.json").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--only", "axz"], "--only: unknown contestants x, z; use letters of abcdefgh"),
        (
            ["--vllm-python", "no/python"],
            "--vllm-python: no/python is not executable; give the Python of an environment with vLLM",
        ),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        throughput.parse(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].partition(": error: ")[2] == line
