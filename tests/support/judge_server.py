"""The judge over HTTP in a process of its own, as users start it, and a client of it."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.support.command_line import start

CALLS = {"entry_point": "f", "test": "def check(candidate):\n    assert candidate(3) == 6\n"}
SUM = {"language": "python", "cases": [{"stdin": "1 2\n", "expected": "3\n"}]}
DOUBLE = "def f(x):\n    return 2 * x\n"
ADD = "print(sum(map(int, input().split())))\n"
LIMIT_S = 60


@dataclass(frozen=True)
class JudgeClient:
    """A client of a running server, with one of its keys."""

    root: str
    pid: int
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    def post(self, path: str, body: object) -> httpx2.Response:
        return httpx2.post(self.root + path, json=body, headers=self.headers, timeout=LIMIT_S)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.root + path, headers=self.headers, timeout=LIMIT_S)

    def verdicts(self, *items: dict[str, Any]) -> dict[Any, dict[str, Any]]:
        """The lines of a batch by id; an item without an id gets its number."""
        answer = self.post("/v1/verdicts", {"items": [{"id": n, **item} for n, item in enumerate(items)]})
        assert answer.status_code == 200, answer.text
        lines = [json.loads(line) for line in answer.text.splitlines()]
        return {line["id"]: line for line in lines}

    def outcomes(self, *items: dict[str, Any]) -> list[str]:
        """The outcomes of a batch, in its order."""
        found = self.verdicts(*items)
        return [str(found[number].get("outcome") or found[number]["error"]) for number in range(len(items))]


@contextmanager
def judging(*settings: str, keys: tuple[str, ...] = (), workers: int = 2) -> Iterator[list[JudgeClient]]:
    """A server until the block ends: a client per key, or one without."""
    chosen = ["serve.port=0", f"eval_workers={workers}", "eval_timeout_scale=1", *settings]
    with start("serve", "--judge", "--set", *chosen, env={"SWARMEVAL_API_KEY": ",".join(keys)}) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready: "):
            process.kill()
            raise AssertionError(f"{line}{process.communicate()[1]}")
        root = line.split()[1].removesuffix("/v1/verdicts,")
        try:
            yield [JudgeClient(root, process.pid, key or None) for key in keys or ("",)]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
