"""A run with fleet: vllm on the real vLLM, if it is installed, beside a local one."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from swarmeval.workers import vllm_support
from tests.support import tiny_thinker
from tests.support.command_line import swarmeval

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason=f"vLLM is not installed ({vllm_support.INSTALL})"
    ),
]
DRAFTS = "{method: ngram, num_speculative_tokens: 4, prompt_lookup_max: 4, prompt_lookup_min: 1}"
BUDGET = 12


def run(folder: Path, model: Path, *settings: str) -> list[tuple[Any, ...]]:
    """The completions of a run, as its journal has them, in the parts that do not depend on time."""
    code, out, err = swarmeval(
        "--config", "config/smoke.yaml", "--num_tasks", "8", "--num_agents", "1", "--output_dir", str(folder), "--set",
        f"model_id={model}", "weights=fp32", "max_new_tokens=40", "do_sample=false", "system_prompt=Be brief.",
        "budget_prefixes=true", "eval_timeout_scale=1", *settings,
    )  # fmt: skip
    assert code == 0, out + err
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    made = sorted((e["completion"] for e in entries if "completion" in e), key=lambda one: str(one["job_id"]))
    assert len(made) == 8
    parts = ("job_id", "reply", "reasoning", "reasoning_tokens", "output_tokens", "finish_reason", "marks")
    return [tuple(one.get(part) for part in parts) for one in made]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_thinker.save(tmp_path_factory.mktemp("thinker"))


def test_a_run_keeps_thoughts_within_their_budget_like_a_local_one(model: Path, tmp_path: Path) -> None:
    thinks = ("chat_template_kwargs={think: true}", f"thinking.budget_tokens={BUDGET}")
    found = run(tmp_path / "vllm", model, *thinks, "fleet=vllm")
    assert found == run(tmp_path / "local", model, *thinks)
    assert max(one[3] for one in found) == BUDGET + 1
    assert (tmp_path / "vllm" / "prefixes.jsonl").read_text() == (tmp_path / "local" / "prefixes.jsonl").read_text()


def test_a_run_with_drafts_equals_a_local_one_and_scores_their_acceptance(model: Path, tmp_path: Path) -> None:
    found = run(tmp_path / "vllm", model, "fleet=vllm", f"vllm.args={{speculative_config: {DRAFTS}}}")
    assert found == run(tmp_path / "local", model)
    score = json.loads((tmp_path / "vllm" / "score.json").read_text())
    assert score["speculation"]["verifications"] > 0
    assert 0 <= score["speculation"]["acceptance_rate"] < 1
    manifest = json.loads((tmp_path / "vllm" / "manifest.json").read_text())
    assert manifest["config"]["vllm"]["args"]["speculative_config"]["method"] == "ngram"
