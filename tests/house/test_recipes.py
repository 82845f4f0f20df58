"""The recipes of README and the manual, run as pasted: a scripted engine and server stand in for GPUs and servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from swarmeval.workers.replica_spec import Script
from tests.support.checkout import ROOT
from tests.support.manual import DOCS, README, Block, blocks
from tests.support.scripted_server import serving

pytestmark = pytest.mark.slow

MAIN = ".venv/bin/python main.py"
WITHOUT_MODEL = {"engine": "scripted", "device": "cpu", "eval_timeout_scale": 1, "eval_workers": 2}
SERVER, MODEL = "http://localhost:8000/v1", "Qwen/Qwen2.5-Coder-7B-Instruct"


def recipes() -> list[str]:
    """The shell blocks that run something and need no download, each text once."""
    both = blocks(README, DOCS / "recipes.md")
    return list(dict.fromkeys(block.text for block in both if not block.kind and f"{MAIN} " in block.text))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder like the checkout, whose configs ask for the scripted engine and few tasks."""
    (tmp_path / "main.py").symlink_to(ROOT / "main.py")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "config").mkdir()
    for name, few in (("config", {"humaneval_limit": 2}), ("smoke", {})):
        settings = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8"))
        text = yaml.safe_dump({**settings, **WITHOUT_MODEL, **few})
        (tmp_path / f"config/{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def paste(folder: Path, text: str) -> str:
    """The output of a shell that runs the text and stops at the first command that fails."""
    done = subprocess.run(["bash", "-euc", text], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def score(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "score.json").read_text(encoding="utf-8")))


def test_there_are_five_recipes_in_the_readme() -> None:
    assert len([block for block in blocks(README) if f"{MAIN} " in block.text]) == 5


@pytest.mark.parametrize("text", [text for text in recipes() if SERVER not in text])
def test_a_recipe_runs_as_pasted(checkout: Path, text: str) -> None:
    paste(checkout, text)
    folders = [path.parent for path in checkout.glob("logs/*/score.json")]
    assert len(folders) == text.count("--output_dir")
    assert all((folder / "report.html").exists() for folder in folders)


@pytest.mark.parametrize("text", [text for text in recipes() if SERVER in text])
def test_the_recipe_of_an_endpoint_runs_as_pasted(checkout: Path, text: str) -> None:
    config = checkout / "config/config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    del settings["engine"]
    config.write_text(yaml.safe_dump({**settings, "max_new_tokens": 64}), encoding="utf-8")
    with serving(Script()) as server:
        paste(checkout, text.replace(SERVER, server.url).replace(MODEL, "tiny"))
    assert score(checkout / "logs/endpoint")["failures"] == 0


def test_the_sample_of_the_scoring_recipe_passes(checkout: Path) -> None:
    (text,) = (block.text for block in blocks(README) if "samples.jsonl" in block.text)
    paste(checkout, text)
    assert score(checkout / "logs/samples")["pass@1"] == 1.0


def test_the_worked_example_makes_a_benchmark_of_three_tasks(checkout: Path) -> None:
    page: list[Block] = blocks(DOCS / "adding-a-benchmark.md")
    (source,) = (block.text for block in page if block.kind == "python")
    (checkout / "make_tasks.py").write_text(source, encoding="utf-8")
    made, _, run = (block.text for block in page if f"{MAIN} " in block.text)
    paste(checkout, made)
    assert score(checkout / "logs/solutions") | {"pass@1": 1.0, "total": 3} == score(checkout / "logs/solutions")
    paste(checkout, run)
    assert score(checkout / "logs/mine")["evaluations"] == 15
