"""Small functions are compiled only where that works, in time, and changes no result."""

import dataclasses
import importlib.util
import shutil
from typing import Any

import pytest
import torch

from swarmeval.engine.kernels import compiled
from swarmeval.engine.kernels.native import COMPILERS
from swarmeval.engine.kernels.pointwise import PLAIN, SmallFunctions

CPU = torch.device("cpu")
NAMES = [field.name for field in dataclasses.fields(SmallFunctions)]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def afresh() -> None:
    """Torch keeps few compiled versions of a function, whatever their backends."""
    torch.compiler.reset()


def replaced(functions: SmallFunctions) -> list[str]:
    return [name for name in NAMES if getattr(functions, name) is not getattr(PLAIN, name)]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "swarmeval"]


def refusing(*_: Any) -> Any:
    raise RuntimeError("no target\nand details")


def zeroing(graph: Any, _: Any) -> Any:
    """A backend whose compiled functions return zeros."""
    return lambda *arguments: [torch.zeros_like(output) for output in graph(*arguments)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_functions_that_compile_to_the_same_results_are_used(dtype: torch.dtype) -> None:
    found = compiled.compiled(CPU, dtype, backend="eager")
    assert replaced(found) == NAMES


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no C++ compiler")
def test_inductor_compiles_every_function() -> None:
    assert replaced(compiled.compiled(CPU, torch.bfloat16, limit_s=600)) == NAMES


def test_a_function_is_compiled_once_for_all_sizes() -> None:
    graphs: list[Any] = []

    def counting(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph

    found = compiled.compiled(CPU, torch.float32, backend=counting)
    assert replaced(found) == NAMES
    count = len(graphs)
    with torch.inference_mode():
        for tokens, size in ((3, 64), (16, 128), (33, 96), (1, 64)):
            values, weight = torch.randn(tokens, size), torch.randn(size)
            torch.testing.assert_close(found.rms_norm(values, weight, 1e-5), PLAIN.rms_norm(values, weight, 1e-5))
            torch.testing.assert_close(found.gate(values), PLAIN.gate(values))
    assert len(graphs) == count


def test_a_compiler_that_fails_leaves_the_plain_functions(caplog: pytest.LogCaptureFixture) -> None:
    assert compiled.compiled(CPU, torch.float32, backend=refusing) == PLAIN
    assert said(caplog) == [f"{name} is not compiled: RuntimeError: no target" for name in NAMES]


def test_a_function_whose_results_change_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    found = compiled.compiled(CPU, torch.float32, backend=zeroing)
    assert not {"merged", "rms_norm", "gate"} & set(replaced(found))
    assert "gate is not compiled: its results differ from torch's" in said(caplog)


def test_compiling_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    assert compiled.compiled(CPU, torch.float32, backend="eager", limit_s=0) == PLAIN
    assert said(caplog) == ["merged is not compiled: that takes more than 0 s"]


@pytest.mark.skipif(importlib.util.find_spec("triton") is not None, reason="Triton is installed")
def test_without_triton_nothing_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    assert compiled.functions(CPU, torch.float32) == PLAIN
    assert said(caplog) == ["no compiled kernels: Triton is not installed"]
