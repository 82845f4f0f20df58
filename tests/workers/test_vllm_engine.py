"""A worker's use of vLLM's engine: the user's arguments, and the counts of speculation. A small module stands in."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_model
from tests.support.checkout import ROOT

pytestmark = pytest.mark.slow

# The part of vLLM's interface that a worker uses. Each step drafts four tokens for a row, of which three are accepted.
ENGINE = """
from dataclasses import dataclass, fields
from types import SimpleNamespace

__version__ = "0.0.fake"


@dataclass
class EngineArgs:
    model: str = ""
    dtype: str = ""
    max_num_seqs: int = 0
    max_model_len: int = 0
    enable_prefix_caching: bool = False
    enable_chunked_prefill: bool = True
    seed: int = 0
    trust_remote_code: bool = False
    enforce_eager: bool = False
    generation_config: str = ""
    disable_log_stats: bool = True
    speculative_config: dict | None = None
    kv_cache_dtype: str = "auto"


class LLMEngine:
    def __init__(self, args):
        self.args, self.rows, self.drafts = args, [], 0
        self.model_config = SimpleNamespace(max_model_len=512)

    @classmethod
    def from_engine_args(cls, args):
        return cls(args)

    def get_tokenizer(self):
        from transformers import AutoTokenizer
        return AutoTokenizer.from_pretrained(self.args.model)

    def add_request(self, request_id, prompt, params):
        self.rows.append(request_id)

    def step(self):
        rows, self.rows = self.rows, []
        self.drafts += len(rows)
        reply = SimpleNamespace(text="abcd", token_ids=[5, 6, 7, 8], finish_reason="length", stop_reason=None)
        return [SimpleNamespace(request_id=row, outputs=[reply]) for row in rows]

    def get_metrics(self):
        assert not self.args.disable_log_stats, "Stat logging disabled"
        counts = {"num_drafts": 1, "num_draft_tokens": 4, "num_accepted_tokens": 3}
        return [SimpleNamespace(name=f"vllm:spec_decode_{name}", value=each * self.drafts)
                for name, each in counts.items()]


class SamplingParams:
    def __init__(self, **settings):
        self.settings = settings
"""
SCRIPT = """
import json, sys
from swarmeval.errors import UserError
from swarmeval.requests import Request, Sampling
from swarmeval.workers.replica import make_replica
from swarmeval.workers.replica_spec import ReplicaSpec

folder, given = sys.argv[1], json.loads(sys.argv[2])
spec = ReplicaSpec("vllm", folder, "cpu", "fp32", "auto", "auto", "off", True, 2, 4, vllm_args=given)
try:
    replica = make_replica(spec)
except UserError as error:
    print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
    raise SystemExit
for k in range(3):
    replica.submit(Request(f"0/t/{k}/0", k, Sampling(4, do_sample=False), text="ab"))
while replica.busy():
    replica.step()
counts = replica.progress().speculation
print(json.dumps({
    "weights": replica.info().weights, "decoding": replica.info().decoding,
    "counts": counts and [counts.verifications, counts.accepted_tokens, counts.draft_tokens],
}))
"""


def used(folder: Path, **given: Any) -> dict[str, Any]:
    """The report of a worker's half with these arguments of the engine."""
    package = folder / "site" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(ENGINE)
    (package / "exceptions.py").write_text("class VLLMClientError(Exception):\n    pass\n")
    (package / "sampling_params.py").write_text("class RequestOutputKind:\n    DELTA = 1\n")
    model = tiny_model.save(folder / "model")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model), json.dumps(given)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(package.parent)}, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_accepted_drafts_are_counted_by_the_engine(tmp_path: Path) -> None:
    found = used(tmp_path, speculative_config={"method": "ngram", "num_speculative_tokens": 4}, kv_cache_dtype="fp8")
    assert found == {
        "weights": "fp32",
        "decoding": "vLLM, prefix caching, speculative_config, kv_cache_dtype",
        "counts": [3, 9, 12],
    }


def test_without_drafts_the_engine_is_not_asked_for_counts(tmp_path: Path) -> None:
    assert used(tmp_path)["counts"] is None


def test_an_argument_that_the_engine_lacks_ends_the_worker_in_one_line(tmp_path: Path) -> None:
    assert used(tmp_path, kv_cache_type="fp8") == {
        "refused": "ModelUnavailable: vllm.args.kv_cache_type is not an argument of vLLM's engine; "
        "did you mean 'kv_cache_dtype'?"
    }
