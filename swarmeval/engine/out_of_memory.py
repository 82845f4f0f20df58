"""Recognition of errors that mean a lack of memory, on a CPU or GPU. The only place that knows their texts."""

from collections.abc import Iterator

TEXTS = (
    "out of memory",  # torch's allocator, CUDA ("CUDA error: out of memory") and Triton
    "STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "can't allocate memory",  # torch on a CPU
    "dispatched on the CPU or the disk",  # transformers: the GPUs cannot hold a sharded model
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, means that memory ran out.

    Libraries hide such errors: ending a failed graph capture raises another error, and transformers' loader replaces
    the error by a report, which model_loader adds as a note.
    """
    import torch

    for each in _chain(error):
        if isinstance(each, (MemoryError, torch.OutOfMemoryError)):
            return True
        said = "\n".join([str(each), *getattr(each, "__notes__", ())])
        if any(text in said for text in TEXTS):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
