"""An interpreter with a fake vLLM, for the benchmarks."""

import sys
from pathlib import Path

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
