"""The examples of the manual's page on the judge as a service, run as pasted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.judge_server import JudgeClient
from tests.support.manual import DOCS, blocks

pytestmark = pytest.mark.slow

SERVER = "http://127.0.0.1:8000"


def example(start: str) -> tuple[str, str]:
    """The block that starts so, and the output shown below it."""
    found = blocks(DOCS / "judge-service.md")
    number = next(n for n, block in enumerate(found) if block.text.startswith(start))
    return found[number].text, found[number + 1].text


def test_the_curl_example_gets_the_verdicts_that_the_page_shows(client: JudgeClient) -> None:
    text, shown = example("curl")
    done = subprocess.run(
        ["bash", "-euc", text.replace(SERVER, client.root)], capture_output=True, text=True, check=True
    )
    found, expected = ([json.loads(line) for line in output.splitlines()] for output in (done.stdout, shown))
    for verdict in (*found, *expected):
        del verdict["judge_s"]
    assert sorted(found, key=lambda verdict: verdict["id"]) == sorted(expected, key=lambda verdict: verdict["id"])


def test_the_example_of_sandbox_fusion_prints_what_the_page_shows(client: JudgeClient) -> None:
    pytest.importorskip("sandbox_fusion", reason="needs sandbox-fusion, of the dev extra")
    text, shown = example("from sandbox_fusion")
    program = [sys.executable, "-W", "ignore", "-c", text.replace(SERVER, client.root)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.split() == shown.split()


def test_the_server_loads_no_model_library(client: JudgeClient) -> None:
    assert "torch" not in Path(f"/proc/{client.pid}/maps").read_text(encoding="utf-8")
