"""The command as users type it: started or run to its end, and the result files it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT

# The judge is not calibrated: that takes longer than most of these runs.
SMOKE = ["--config", "config/smoke.yaml", "--set", "engine=scripted", "eval_timeout_scale=1"]


def start(*words: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "main.py", *words],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def swarmeval(*words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run one command; return (exit code, stdout, stderr)."""
    with start(*words, env=env) as process:
        out, err = process.communicate(timeout=280)
    return process.returncode, out, err


def agent_results(folder: Path, agent: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"agent_{agent}_results.jsonl").read_text().splitlines()]
