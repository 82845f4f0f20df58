"""Runs orders of executed programs in a real warden: shell and Python scripts, which every machine has."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from swarmeval.sandbox.executed.warden import PYTHON
from swarmeval.sandbox.warden_process import EXECUTED, WardenProcess

Order = dict[str, Any]
Case = tuple[str, str, Sequence[str]]  # stdin, expected output, arguments
HELLO: Case = ("", "hello", ())
SPARE_S = 60.0


def script(
    text: str, *cases: Case, run: Sequence[str] = ("/bin/sh",), files: Mapping[str, str] | None = None, **more: Any
) -> Order:
    """The order for a script; without cases it must print hello."""
    return {
        "files": [*(files or {}).items(), ("script", text)], "build": [], "run": [*run, "script"], "check": [],
        "environment": {"PATH": "/usr/bin:/bin"}, "cases": cases or [HELLO], "rule": "tokens", "tolerance": 0.0,
        "checker": "", "secret": "", "failure_exit_code": None, "failure_output": "", "scale": 1.0, **more,
    }  # fmt: skip


def python(text: str, *cases: Case, **more: Any) -> Order:
    return script(text, *cases, run=(PYTHON, "-I"), **more)


def execute(*orders: Order, timeout_s: float = 10.0, memory_mb: int = 512, mode: str = "auto") -> list[dict[str, Any]]:
    """Judge orders one after another in the same warden; return its answers."""

    async def all_of_them() -> list[dict[str, Any]]:
        warden = WardenProcess(EXECUTED, mode, [sys.base_prefix], yields=False)
        await warden.start()
        try:
            limits = {"timeout_s": timeout_s, "memory_mb": memory_mb}
            return [await warden.run({"executed": order, **limits}, SPARE_S) for order in orders]
        finally:
            await warden.stop()

    return asyncio.run(all_of_them())


def endings(*orders: Order, **limits: Any) -> list[tuple[str, str]]:
    """The outcome and detail of each order."""
    return [(answer["outcome"], answer["detail"]) for answer in execute(*orders, **limits)]
