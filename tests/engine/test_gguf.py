"""GGUF files: read as transformers reads them, named by their quantization, converted once."""

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

import model_loader
from swarmeval.errors import ModelUnavailable
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import gguf_models, tiny_model
from tests.support.loaded_replica import TEXT, reply_of

KINDS = [
    (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0, "gguf Q8_0"),
    (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0, "gguf Q4_0"),
    (gguf.GGMLQuantizationType.F16, None, "gguf of unstated type"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stated", "name"), KINDS)
def test_a_gguf_file_gives_the_replies_of_transformers(
    kind: Any, stated: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARMEVAL_CACHE", str(tmp_path / "cache"))
    file = gguf_models.save(tmp_path / "tiny.gguf", kind, stated)
    reference = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    ).eval()
    if model_loader.compute_dtype("cpu") == torch.float32:
        reference.float()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    loaded = model_loader.load(str(file), device="cpu", weights="gguf")
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, reference(ids).logits)
    assert (loaded.weights, loaded.is_unpacked) == (name, True)
    model = model_loader.locate(str(file), weights="gguf")
    text, info = reply_of(ReplicaSpec("hf", model, "cpu", "gguf", "auto", "off", "off", True, 4, 16))
    tokens = reference.generate(ids, do_sample=False, max_new_tokens=16, pad_token_id=1)
    assert text == tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True)
    assert info.weights.startswith(f"{name} (dequantized to {info.compute_dtype}")
    made = [entry.name for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]
    assert [folder[:5] for folder in made] == ["gguf-"]


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    tiny_model.save(tmp_path)
    (tmp_path / "fake.gguf").write_bytes(b"something else")
    for path in (tmp_path, tmp_path / "fake.gguf", tmp_path / "missing.gguf"):
        with pytest.raises(ModelUnavailable) as caught:
            model_loader.locate(str(path), weights="gguf")
        assert str(caught.value) == f"{path}: weights: gguf needs the path of a GGUF file as model_id"


def test_a_gguf_file_needs_its_format_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF and more")
    with pytest.raises(ModelUnavailable) as caught:
        model_loader.locate(str(tmp_path / "m.gguf"), weights="nf4")
    assert str(caught.value) == f"{tmp_path / 'm.gguf'}: a GGUF file; set weights: gguf"
