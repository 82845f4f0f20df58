"""4-bit weights are unpacked where memory allows: the arithmetic, its errors, and one layer at a time."""

import weakref
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from swarmeval.engine.budget import SHARE as SHARES
from swarmeval.engine.weights.weight_cache import Choice, Demand, allows, demands, dequantize, places, unpack
from swarmeval.errors import DeviceError

GB = 10**9
WEIGHTS = 11 * GB  # more for an 8B model: 16 GB instead of 5
ROW = GB // 5  # of 1,500 tokens of an 8B model
SHARE = SHARES["cuda"]


def linear(inputs: int = 64, outputs: int = 32) -> Any:
    """A quantized layer, made on the CPU."""
    layer = Linear4bit(inputs, outputs, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    return layer.to("cpu")


def gpu(free_gb: float, added: int = WEIGHTS, name: str = "cuda:0") -> Demand:
    return Demand(name, int(free_gb * GB), added, ROW)


@pytest.mark.parametrize(("free_gb", "wanted"), [(10, False), (18.5, False), (34, True), (75, True)])
def test_a_gpu_unpacks_if_at_least_half_of_the_rows_remain(free_gb: float, wanted: bool) -> None:
    """Free memory beside the 4-bit weights of an 8B model on cards of 16, 24, 40 and 80 GB."""
    assert allows("auto", [gpu(free_gb)], None, 256) is wanted


def test_rows_that_the_user_set_come_before_unpacked_weights() -> None:
    needed = (WEIGHTS + 8 * ROW / SHARE) / GB
    assert allows("auto", [gpu(needed + 0.01)], 8, 64)
    assert not allows("auto", [gpu(needed - 0.01)], 8, 64)


def test_the_gpu_with_the_least_memory_decides() -> None:
    assert allows("auto", [gpu(75), gpu(75)], None, 256)
    assert not allows("auto", [gpu(75), gpu(10)], None, 256)


def test_unpacking_that_leaves_no_memory_for_rows_is_refused_if_set() -> None:
    assert allows("on", [gpu(18.5)], None, 256)
    assert not allows("off", [gpu(75)], None, 256)
    with pytest.raises(DeviceError) as caught:
        allows("on", [gpu(75), gpu(11.2, name="cuda:1")], 8, 64)
    assert str(caught.value) == (
        "replica.weight_cache: on leaves no memory for rows on cuda:1 (unpacked, the weights need 11.00 GB more, "
        "and 11.20 GB are free); set replica.weight_cache: auto"
    )


@given(
    free=st.lists(st.integers(0, 80 * GB), min_size=1, max_size=4),
    rows=st.none() | st.integers(1, 300),
    most=st.integers(1, 300),
)
def test_weights_are_unpacked_only_if_they_and_the_rows_fit(free: list[int], rows: int | None, most: int) -> None:
    found = [Demand("cuda:0", one, WEIGHTS, ROW) for one in free]
    if allows("auto", found, rows, most):
        assert all(WEIGHTS + (rows or 1) * ROW / SHARE <= one for one in free)
        assert allows("on", found, rows, most)


def test_the_demand_is_what_unpacking_adds_to_the_weights() -> None:
    model = nn.Sequential(linear(), nn.Linear(32, 32), linear(32, 64))
    before = sum(parameter.nbytes for parameter in model.parameters())
    (found,) = demands(model, 100, lambda device: 7)
    dequantize(model)
    assert (found.device, found.free, found.row) == ("cpu", 7, 100)
    assert found.added == sum(parameter.nbytes for parameter in model.parameters()) - before
    assert demands(model, 100, lambda device: 7) == []


def test_each_device_needs_memory_for_its_own_layers() -> None:
    elsewhere = linear()
    elsewhere.weight = nn.Parameter(elsewhere.weight.data.to("meta"), requires_grad=False)
    model = nn.Sequential(linear(), linear(), elsewhere)
    one, other = demands(model, 300, lambda device: 5 if device.type == "cpu" else 6)
    assert (one.device, one.free, one.row) == ("cpu", 5, 200)
    assert (other.device, other.free, other.row) == ("meta", 6, 100)
    assert one.added == 2 * other.added


def test_a_cpu_unpacks_unless_told_otherwise() -> None:
    choices: tuple[Choice, ...] = ("off", "auto", "on")
    for choice in choices:
        model = nn.Sequential(linear())
        assert unpack(model, choice, 1, None, 64, lambda device: 0) is (choice != "off")
        assert type(model[0]) is (Linear4bit if choice == "off" else nn.Linear)
    assert not unpack(nn.Sequential(nn.Linear(8, 8)), "on", 1, None, 64, lambda device: 0)


class Watched(nn.Sequential):
    """Records how many of its first layers are alive whenever one of them has been replaced."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.layers = [weakref.ref(layer) for layer in layers]
        self.alive: list[int] = []

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, nn.Module):
            self.alive.append(sum(layer() is not None for layer in self.layers))


def test_a_packed_weight_is_freed_before_the_next_is_unpacked() -> None:
    model = Watched(*[linear() for _ in range(5)])
    dequantize(model)
    assert model.alive == [4, 3, 2, 1, 0]


def test_places_are_those_of_one_kind() -> None:
    model = nn.Sequential(linear(), nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8)))
    assert places(model, nn.Linear) == [(model, "1"), (model[2], "0")]
    assert places(model, Linear4bit) == [(model, "0")]
