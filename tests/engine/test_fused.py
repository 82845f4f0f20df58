"""Fused parts, over the kernels of any device, give what the parts of the model that they replace gave."""

import copy
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from swarmeval.engine.kernels import native
from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.weights import fused
from swarmeval.engine.weights.weight_cache import places
from tests.support import tiny_model
from tests.support.decoder_comparison import same_all_the_way

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([[5, 9, 40, 7, 11, 3, 200, 9, 8, 61, 77, 5, 5, 31]])
ALL = {"norms": 5, "MLPs": 2, "attentions": 2}


def kernels(kind: str, dtype: torch.dtype = torch.float32) -> Kernels:
    if kind == "native":
        return native.load(dtype)
    return PortableKernels(ReferenceAttention(), dtype, torch.device("cpu"))


FAMILIES: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("Llama", {}, ALL),
    ("Llama", {"num_key_value_heads": 1}, ALL),
    ("Qwen2", {}, ALL),  # projections have biases
    ("Qwen3", {"head_dim": 32}, {**ALL, "norms": 9}),  # normalises queries and keys
    ("Mistral", {"sliding_window": None}, ALL),
    ("Mistral", {"sliding_window": 8}, ALL),  # shorter than the prompt
    ("Phi3", {}, ALL),  # projections are joined already
    ("Phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}, ALL),
    ("Gemma", {"head_dim": 32}, {"norms": 0, "MLPs": 0, "attentions": 2}),  # 1 + weight, and gelu
    ("Gemma2", {"head_dim": 32}, {"norms": 0, "MLPs": 0, "attentions": 0}),  # caps its scores
    ("Olmo2", {}, {"norms": 9, "MLPs": 2, "attentions": 0}),  # normalises queries and keys of all heads together
    ("Phi", {}, {"norms": 0, "MLPs": 0, "attentions": 0}),
]


@pytest.mark.parametrize("kind", ["native", "portable"])
@pytest.mark.parametrize(("name", "changes", "parts"), FAMILIES)
def test_fused_parts_keep_the_logits_and_others_stay(
    kind: str, name: str, changes: dict[str, Any], parts: dict[str, int]
) -> None:
    model = tiny_model.family(name, **changes)
    with torch.inference_mode():
        before = model(IDS).logits
        assert fused.fuse(model, kernels(kind)) == parts
        assert torch.allclose(model(IDS).logits, before, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["native", "portable"])
@pytest.mark.parametrize("index", [index for index, (_, _, parts) in enumerate(FAMILIES) if parts["attentions"]])
def test_fused_parts_keep_the_logits_over_pages(kind: str, index: int) -> None:
    name, changes, _ = FAMILIES[index]
    if changes.get("sliding_window") == 8:
        changes = {"sliding_window": 512}
    model = tiny_model.family(name, **changes)
    plain, chosen = copy.deepcopy(model), kernels(kind)
    fused.fuse(model, chosen)
    assert same_all_the_way(
        plain, lambda rows: PagedDecoder(model, chosen, rows, 200, [16, 32, 48, 64], 512), seed=4, steps=6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["native", "portable"])
def test_both_dtypes_of_a_cpu_are_fused(kind: str, dtype: torch.dtype) -> None:
    assert fused.fuse(tiny_model.model(head_dim=32).to(dtype), kernels(kind, dtype)) == ALL


def test_parts_of_another_dtype_stay() -> None:
    assert fused.fuse(tiny_model.model().to(torch.float16), kernels("native")) == dict.fromkeys(ALL, 0)


def test_half_precision_is_fused_in_torch() -> None:
    """As on GPUs without bf16."""
    assert fused.fuse(tiny_model.model().to(torch.float16), kernels("portable", torch.float16)) == ALL


def test_of_a_model_with_4_bit_layers_only_norms_are_fused() -> None:
    from bitsandbytes.nn import Linear4bit

    model = tiny_model.model()
    for parent, name in places(model.model, nn.Linear):
        old = getattr(parent, name)
        packed: Any = Linear4bit(old.in_features, old.out_features, False, torch.float32, quant_type="nf4")
        packed.load_state_dict({"weight": old.weight})
        setattr(parent, name, packed.to("cpu"))
    with torch.inference_mode():
        before = model(IDS).logits
        assert fused.fuse(model, kernels("portable")) == {"norms": 5, "MLPs": 0, "attentions": 0}
        assert torch.allclose(model(IDS).logits, before, atol=1e-4)


@torch.inference_mode()
def test_outside_of_pages_the_joined_product_is_computed_once() -> None:
    model = tiny_model.model()
    fused.fuse(model, kernels("portable"))
    attention = model.model.layers[0].self_attn
    seen: list[int] = []
    attention.projection.register_forward_hook(lambda *_: seen.append(1))
    for _ in range(3):
        model(IDS)
    assert len(seen) == 3


def test_weights_that_were_joined_are_freed_layer_by_layer() -> None:
    model = tiny_model.model(num_hidden_layers=4)
    layers = [weakref.ref(layer.mlp.gate_proj.weight) for layer in model.model.layers]
    alive: list[int] = []

    class Watching(PortableKernels):
        def gate(self, joined: torch.Tensor) -> torch.Tensor:
            alive.append(sum(layer() is not None for layer in layers))
            return super().gate(joined)

    fused.fuse(model, Watching(ReferenceAttention(), torch.float32, torch.device("cpu")))
    assert alive == [4, 3, 2, 1]


class Wrong(PortableKernels):
    """Kernels whose results are wrong everywhere."""

    def rms_norm(self, values: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        return super().rms_norm(values, weight, epsilon + 1)

    def gate(self, joined: torch.Tensor) -> torch.Tensor:
        return super().gate(joined) + 1

    def rotate_and_put(self, joined: torch.Tensor, *others: Any) -> None:
        joined += 1
        super().rotate_and_put(joined, *others)


def test_parts_whose_output_would_differ_are_not_replaced() -> None:
    model = tiny_model.model()
    with torch.inference_mode():
        before = model(IDS).logits
        wrong = Wrong(ReferenceAttention(), torch.float32, torch.device("cpu"))
        assert fused.fuse(model, wrong) == dict.fromkeys(ALL, 0)
        assert torch.equal(model(IDS).logits, before)
