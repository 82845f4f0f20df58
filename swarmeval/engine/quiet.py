"""Keeps the messages of model libraries off the screen and out of the logs."""

import logging
import os
import warnings


def quiet() -> None:
    """Silence the libraries' messages at import and while loading, to keep them out of the worker's log."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # tqdm reads it at its first import
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated", category=FutureWarning)
    # A model that was saved in 4 bits keeps its own quantization, which LoadedModel.weights names.
    warnings.filterwarnings("ignore", message="You passed `quantization_config` or equivalent parameters")
    # On CPUs with AVX512-BF16, bitsandbytes logs that the optional hub package `kernels` is missing.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.CRITICAL)
    # transformers imports torchao wherever it is installed, which names its parts for GPUs that are not there.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
