"""vLLM as a peer of our engine, in a process of its own under another interpreter (vllm_child).

Gets our prompts as token ids, our seeds and sampling settings. Applies no stop strings.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers import Contestant, RoundCost, text_tokens
from swarmeval.requests import Request

CHILD = Path(__file__).with_name("vllm_child.py")
END_S = 60.0  # limit for vLLM to exit


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of a benchmark, with the option that names vLLM's interpreter."""
    parser.add_argument("--vllm-python", type=Path, metavar="PATH", help="the Python of an environment with vLLM")
    options = parser.parse_args(arguments)
    if options.vllm_python and not os.access(options.vllm_python, os.X_OK):
        parser.error(
            f"--vllm-python: {options.vllm_python} is not executable; give the Python of an environment with vLLM"
        )
    return options


class VllmChild:
    """vLLM under another interpreter, loaded and warmed up. Idle between questions; exits with the context."""

    def __init__(self, python: Path, folder: str, context_tokens: int, threads: int) -> None:
        self._python = python
        self.process = subprocess.Popen(
            [python, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._settings = {"model": folder, "context_tokens": context_tokens, "threads": threads}
        self.version = ""

    def __enter__(self) -> Self:
        with ExitStack() as failed:
            failed.callback(self._end)
            self.version = self.ask(self._settings)["vllm"]
            failed.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send a question and return the answer. Raises RuntimeError if vLLM dies; the cause is on stderr."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self._python}: vLLM exited with code {self.process.wait(END_S)}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        try:
            self.process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def vllm(
    child: VllmChild, prompts: Sequence[Sequence[int]], requests: Sequence[Request], ends: Collection[int]
) -> Contestant:
    """vLLM over all these requests at once, with its own choice of rows."""
    sampling = requests[0].sampling
    question = {
        "prompts": prompts,
        "seeds": [request.seed for request in requests],
        "sampling": {
            "temperature": sampling.temperature if sampling.do_sample else 0.0,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty,
            "max_tokens": sampling.max_new_tokens,
            "stop_token_ids": sorted(ends),
        },
    }

    def run() -> RoundCost:
        answer = child.ask(question)
        return RoundCost(sum(text_tokens(reply, ends) for reply in answer["replies"]), answer["seconds"])

    return run
