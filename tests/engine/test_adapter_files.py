"""Adapters that cannot be obeyed are refused in one line: files of other kinds, and files of other models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from swarmeval.engine.adapters.files import located, read
from swarmeval.engine.adapters.lora import attach
from swarmeval.errors import ModelUnavailable
from swarmeval.requests import Request
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import tiny_model
from tests.support.adapter_folder import PREFIX, QUERY, Matrices, filled, pair, written
from tests.support.tiny_engine import GREEDY, texts


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "IA3"}, "its peft_type is 'IA3'; only LORA is supported"),
        ({"use_dora": True}, "it uses use_dora, which is not supported; only plain LoRA is"),
        (
            {"modules_to_save": ["lm_head"], "a_later_variant": 1},
            "it uses a_later_variant, modules_to_save, which is not supported; only plain LoRA is",
        ),
        ({"bias": "all"}, "it has trained biases (bias: all); only bias: none is supported"),
        (
            {"init_lora_weights": "pissa"},
            "it was begun with init_lora_weights: pissa, which changes the base model; convert it to a plain LoRA with "
            "PEFT's path_initial_model_for_weight_conversion",
        ),
        ({"r": 8}, "model.layers.0.self_attn.q_proj has rank 4, but adapter_config.json states 8"),
    ],
)
def test_what_is_not_a_plain_lora_is_refused_by_name(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    folder = written(tmp_path, **config)
    with pytest.raises(ModelUnavailable) as caught:
        read("one", folder)
    assert str(caught.value) == f"adapters.one: {folder}: {reason}"


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "it holds no matrices"),
        (
            pair() | {f"{PREFIX}.{QUERY}.lora_magnitude_vector": filled(64)},
            f"it holds {PREFIX}.{QUERY}.lora_magnitude_vector, which is not a LoRA matrix of a linear layer",
        ),
        (
            {f"{PREFIX}.{QUERY}.lora_A.weight": filled(4, 64)},
            f"the two matrices of model.layers.{QUERY} do not belong together",
        ),
    ],
)
def test_tensors_without_a_layer_are_refused(tmp_path: Path, tensors: Matrices, reason: str) -> None:
    folder = written(tmp_path, tensors)
    with pytest.raises(ModelUnavailable) as caught:
        read("one", folder)
    assert str(caught.value) == f"adapters.one: {folder}: {reason}"


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        located("one", str(tmp_path))
    assert str(caught.value) == f"adapters.one: {tmp_path} has no adapter_config.json; name the folder of a PEFT LoRA"
    written(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ModelUnavailable) as caught:
        located("one", str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: its weights are pickles (adapter_model.bin), which can run arbitrary code when they are read; "
        "save them as *.safetensors"
    )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelUnavailable) as caught:
        read("one", folder)
    assert str(caught.value) == f"adapters.one: {folder}: adapter_model.safetensors is not a safetensors file"


def test_scales_follow_the_patterns_of_each_layer(tmp_path: Path) -> None:
    value = "1.self_attn.v_proj"
    folder = written(
        tmp_path,
        pair() | pair(value, rank=2, outputs=32),
        rank_pattern={"v_proj": 2},
        alpha_pattern={r"layers\.0\..*": 6},
    )
    found = read("one", folder)
    assert (found.scale(f"model.layers.{QUERY}"), found.scale(f"model.layers.{value}")) == (6 / 4, 8 / 2)
    assert read("one", written(tmp_path, use_rslora=True)).scale(f"model.layers.{QUERY}") == 8 / 2


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (pair("7.self_attn.q_proj"), "the model has no layer {}; the adapter was made for another model"),
        (
            pair(inputs=32),
            "{} has 64 inputs and 64 outputs, the adapter 32 and 64; it was made for another model",
        ),
        (pair("0.input_layernorm"), "adapts {}, a LlamaRMSNorm; only linear layers are supported"),
    ],
)
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, tensors: Matrices, reason: str) -> None:
    layer = next(iter(tensors)).removeprefix("base_model.model.").partition(".lora_")[0]
    with pytest.raises(ModelUnavailable) as caught:
        attach(tiny_model.model(), [read("one", written(tmp_path, tensors))])
    assert str(caught.value) == f"adapters.one: {reason.format(layer)}"


def test_the_output_head_takes_no_adapter(tmp_path: Path) -> None:
    names = {
        "base_model.model.lm_head.lora_A.weight": filled(4, 64),
        "base_model.model.lm_head.lora_B.weight": filled(288, 4),
    }
    with pytest.raises(ModelUnavailable) as caught:
        attach(tiny_model.model(), [read("one", written(tmp_path, names))])
    assert str(caught.value) == "adapters.one: adapts lm_head, the output head, which is not supported"


def test_damaged_numbers_are_found_before_the_first_answer(tmp_path: Path) -> None:
    tensors = {name: matrix * np.float32("nan") for name, matrix in pair().items()}
    with pytest.raises(ModelUnavailable) as caught:
        attach(tiny_model.model(), [read("one", written(tmp_path, tensors))])
    assert str(caught.value) == (
        f"adapters.one: its matrices for model.layers.{QUERY} are not numbers in torch.float32"
    )


class _Bypassed(nn.Module):
    """Multiplies by its layer's weight, without calling the layer."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.inner = linear

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self.inner.weight.T


def test_a_layer_whose_weight_is_used_without_it_is_refused(tmp_path: Path) -> None:
    model = tiny_model.model()
    attention = model.model.layers[0].self_attn
    attention.q_proj = _Bypassed(attention.q_proj)
    with pytest.raises(ModelUnavailable) as caught:
        attach(model, [read("one", written(tmp_path, pair(f"{QUERY}.inner")))])
    assert str(caught.value) == (
        "adapters: model.layers.0.self_attn.q_proj.inner does not compute its output by itself in this model"
    )


@pytest.mark.slow
def test_a_worker_loads_adapters_and_counts_their_memory(tmp_path: Path) -> None:
    folder, model = tmp_path / "one", tiny_model.save(tmp_path / "model")
    folder.mkdir()
    written(folder, pair("0.mlp.down_proj", inputs=128), lora_alpha=64)
    spec = ReplicaSpec("hf", str(model), "cpu", "nf4", "auto", "auto", "off", True, 4, max_new_tokens=16)
    plain, adapted = (load_engine(one) for one in (spec, replace(spec, adapters=(("one", str(folder)),))))
    assert adapted.info().memory_mb > plain.info().memory_mb
    assert adapted.info().decoding == plain.info().decoding
    asked = Request("j", 1, GREEDY, text="def f(x):\n")
    before = texts(plain, [asked])
    assert texts(adapted, [asked]) == before
    assert texts(adapted, [replace(asked, adapter="one")]) != before
