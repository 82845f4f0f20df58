"""A lack of memory is recognised in every form that reaches us, and nothing else is taken for one."""

import pytest
import torch

from swarmeval.engine.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        ValueError("Some modules are dispatched on the CPU or the disk. Make sure you have enough GPU RAM"),
    ],
)
def test_every_form_of_it_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("Unrecognized configuration class"),
    ],
)
def test_other_faults_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


def ended_capture() -> None:
    """As torch.cuda.graph: ending a capture in which memory ran out raises another error."""
    try:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def refused() -> None:
    try:
        raise MemoryError
    except MemoryError:
        raise RuntimeError("the input was too long") from None


def test_it_is_recognised_behind_the_error_that_it_led_to() -> None:
    with pytest.raises(RuntimeError) as caught:
        ended_capture()
    assert is_out_of_memory(caught.value)


def test_an_error_raised_instead_of_it_is_not() -> None:
    with pytest.raises(RuntimeError) as caught:
        refused()
    assert not is_out_of_memory(caught.value)
