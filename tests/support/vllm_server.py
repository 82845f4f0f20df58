"""A real vLLM server on the CPU, as a process."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
SETTINGS = {
    "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_API_KEY": "sk-planted", "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip


@contextmanager
def vllm_server(model: str, *words: str) -> Iterator[str]:
    """The base URL of a server of this model, which it calls tiny. `words`: further arguments of `vllm serve`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, *words]
    command += ["--served-model-name", "tiny", "--port", str(port), "--enforce-eager", "--no-enable-chunked-prefill"]
    command += ["--max-num-seqs", "16"]
    with subprocess.Popen(command, env={**os.environ, **SETTINGS}, stdout=subprocess.DEVNULL) as server:
        try:
            while not _healthy(port):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"vLLM ended with {server.wait(timeout=1)}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
