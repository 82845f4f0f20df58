"""An interpreter with a fake vLLM, for the benchmarks, and a fake of its engine."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.checkout import executable

FAKE_VLLM = """
import json
from types import SimpleNamespace

__version__ = "0.0.fake"
print("a library that prints when it is imported")


class SamplingParams:
    def __init__(self, **settings):
        self.settings = settings


class LLM:
    def __init__(self, **settings):
        if not settings["model"]:
            raise ValueError("no model")
        self.cached, self.settings = [], settings

    def reset_prefix_cache(self):
        self.cached = []

    def generate(self, prompts, params, use_tqdm):
        print("a library that prints while it generates")
        replies = [self.reply(p["prompt_token_ids"], q.settings) for p, q in zip(prompts, params, strict=True)]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=reply)]) for reply in replies]

    def reply(self, prompt, settings):
        known = prompt in self.cached
        self.cached.append(prompt)
        return ([settings["seed"], len(prompt), known] + [7] * settings["max_tokens"])[: settings["max_tokens"]]
"""


def fake_vllm_python(folder: Path) -> Path:
    """An interpreter whose vLLM answers with seed, prompt length, whether the prompt was cached, and sevens."""
    (folder / "vllm.py").write_text(FAKE_VLLM)
    python = folder / "python"
    executable(python, f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    return python


class RejectedByVllm(Exception):
    """Stands for vllm.exceptions.VLLMValidationError, which is not a ValueError."""


class FakeVllmEngine:
    """An LLMEngine that gives every request the same tokens, some per step, and then the end-of-text token."""

    def __init__(self, tokenizer: Any, tokens: Sequence[int], per_step: int = 3) -> None:
        self._tokenizer = tokenizer
        self._tokens = [*tokens, tokenizer.eos_token_id]
        self._per_step = per_step
        self._given: dict[str, int] = {}
        self.asked: list[dict[str, Any]] = []  # arguments of the SamplingParams
        self.aborted: list[str] = []

    def add_request(self, job_id: str, prompt: dict[str, list[int]], params: dict[str, Any]) -> None:
        if params["logit_bias"]:
            raise RejectedByVllm("logit_bias is out of bounds")
        self.asked.append(params)
        self._given[job_id] = 0

    def step(self) -> list[Any]:
        return [self._output(job_id) for job_id in list(self._given)]

    def abort_request(self, job_ids: list[str]) -> None:
        self.aborted += job_ids
        for job_id in job_ids:
            del self._given[job_id]

    def _output(self, job_id: str) -> Any:
        given = self._given[job_id]
        until = self._given[job_id] = given + self._per_step
        ended = until >= len(self._tokens)
        if ended:
            del self._given[job_id]
        ids = self._tokens[given:until]
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        reason = "stop" if ended else None
        made = SimpleNamespace(text=text, token_ids=ids, finish_reason=reason, stop_reason=None)
        return SimpleNamespace(request_id=job_id, outputs=[made])
