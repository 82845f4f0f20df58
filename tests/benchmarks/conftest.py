"""Fixtures of the tests of benchmarks."""

from pathlib import Path

import pytest

from tests.support.fake_vllm import fake_vllm_python


@pytest.fixture
def fake_vllm(tmp_path: Path) -> Path:
    """The path of an interpreter with a fake vLLM."""
    return fake_vllm_python(tmp_path)
