"""The compiled kernels: built from kernels/ by a C++ compiler, cached, and called through ctypes.

They are optional. If they are unavailable, `load` raises the reason and torch does the same work.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from swarmeval.engine.bundled_model import cache_root

SOURCES = Path(__file__).with_name("kernels")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-std=c++17")
COMPILERS = ("c++", "g++", "clang++")
BUILD_TIMEOUT_S = 120.0
_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


class Unavailable(Exception):
    """The kernels are unavailable on this machine; str() gives the reason."""


class Kernels:
    """The functions of kernels/kernels.cpp over tensors of one dtype, bf16 or fp32, on the CPU."""

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        if dtype not in _NAMES:
            raise Unavailable(f"{dtype} is not supported")
        name = _NAMES[dtype]
        self.dtype = dtype
        self._attend = getattr(library, f"attend_{name}")
        self._put = getattr(library, f"put_{name}")
        self._rotate_and_put = getattr(library, f"rotate_and_put_{name}")
        self._rms_norm = getattr(library, f"rms_norm_{name}")
        self._gate = getattr(library, f"gate_{name}")
        self._best = getattr(library, f"best_{name}")

    def attend(
        self,
        query: Tensor,  # [tokens, query heads, head size], any stride between tokens
        keys: Tensor,  # [pages, key heads, 16 * head size], in the layout of kernels/pages.h
        values: Tensor,  # like keys
        table: Tensor,  # [tokens, pages per row], int32: shared pages first, then the row's own
        shared: Tensor,  # [tokens], int32: tokens to attend to in the shared pages
        own: Tensor,  # [tokens], int32: tokens to attend to in the row's own pages
        order: Tensor,  # [tokens], int32: token indexes sorted by group
        group: Tensor,  # [tokens], int32: tokens of one group read the same shared pages, though not all to the end
        scale: float,
    ) -> Tensor:
        """Attend from each token to its row's pages: [tokens, query heads, head size]; zeros for an empty row."""
        tokens, heads, size = query.shape
        query = _whole_heads(query)
        output = query.new_empty(tokens, heads, size)
        self._attend(
            _at(query), _long(query.stride(0)), _at(output), _at(keys), _at(values), _at(table), _long(table.stride(0)),
            _at(shared), _at(own), _at(order), _at(group), tokens, heads, keys.shape[1], size, ctypes.c_float(scale),
        )  # fmt: skip
        return output

    def put(self, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor) -> None:
        """Write keys and values [tokens, key heads, head size] to each token's page and offset; page -1 skips it."""
        key, value = _whole_heads(key), _whole_heads(value)
        self._put(
            _at(key), _long(key.stride(0)), _at(value), _long(value.stride(0)), _at(keys), _at(values), _at(page),
            _at(offset), *key.shape,
        )  # fmt: skip

    def rotate_and_put(
        self, joined: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor
    ) -> None:
        """Apply the rotary embedding to queries and keys in place, then write keys and values as `put` does.

        `joined` is [tokens, query heads + key heads + value heads, head size].
        """
        tokens, heads, size = joined.shape
        key_heads = keys.shape[1]
        self._rotate_and_put(
            _at(joined), _long(joined.stride(0)), _at(cosine), _at(sine), _at(keys), _at(values), _at(page),
            _at(offset), tokens, heads - 2 * key_heads, key_heads, size,
        )  # fmt: skip

    def rms_norm(self, values: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        values = values.contiguous()
        output = torch.empty_like(values)
        size = values.shape[-1]
        self._rms_norm(_at(values), _at(weight), _at(output), values.numel() // size, size, ctypes.c_float(epsilon))
        return output

    def gate(self, joined: Tensor) -> Tensor:
        """silu(gate) * up, for `joined` [..., gate then up]."""
        joined = joined.contiguous()
        size = joined.shape[-1] // 2
        output = joined.new_empty(*joined.shape[:-1], size)
        self._gate(_at(joined), _at(output), output.numel() // size, size)
        return output

    def best(
        self, scores: Tensor, history: Tensor, lengths: Tensor, penalties: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        """The `width` best scores of each row in fp32 and their ids, best first, ties by id.

        `scores` is [rows, vocabulary]. The repetition penalty of each row in `penalties` [rows, fp32] applies to its
        first `lengths` [rows, int32] tokens of `history` [rows, any, int64].
        """
        scores = scores.contiguous()
        rows, vocabulary = scores.shape
        values = torch.empty(rows, width)
        ids = torch.empty(rows, width, dtype=torch.long)
        self._best(
            _at(scores), rows, vocabulary, _at(history), _long(history.stride(0)), _at(lengths), _at(penalties), width,
            _at(values), _at(ids),
        )  # fmt: skip
        return values, ids


def load(dtype: torch.dtype) -> Kernels:
    """Load the kernels for this dtype, building them first if they are not cached. Raises Unavailable."""
    return Kernels(_library(), dtype)


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _long(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def _whole_heads(tensor: Tensor) -> Tensor:
    """The tensor with each token's heads contiguous; tokens may have any stride."""
    size = tensor.shape[-1]
    return tensor if tensor.stride(-1) == 1 and tensor.stride(-2) == size else tensor.contiguous()


def _library() -> ctypes.CDLL:
    compiler = next(
        (path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))), None
    )
    if compiler is None:
        raise Unavailable("no C++ compiler was found")
    try:
        return _opened(_built(compiler))
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{compiler} did not finish within {BUILD_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"cannot build, cache or load them: {error}") from error


def _opened(file: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(file))
    except OSError:
        file.unlink(missing_ok=True)  # damaged or built for another machine: the next load rebuilds it
        raise


def _built(compiler: str) -> Path:
    """Path of the cached library, built first if missing. Concurrent processes are safe: each builds, then renames."""
    file = cache_root() / f"kernels-{_fingerprint(compiler)}.so"
    if file.is_file():
        return file
    logging.getLogger("swarmeval.loading").info("compiling the CPU kernels (once)")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=file.parent) as folder:
        made, target = Path(folder) / "kernels.o", Path(folder) / "kernels.so"
        _run(compiler, *FLAGS, "-c", str(SOURCES / "kernels.cpp"), "-o", str(made))
        # Linked without -fopenmp, so that OpenMP symbols resolve to the copy that torch has already loaded.
        _run(compiler, "-shared", str(made), "-o", str(target))
        target.rename(file)
    return file


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"{command[0]} failed: {last}")


def _fingerprint(compiler: str) -> str:
    """Hash of everything that affects the binary: machines of several kinds may share a cache folder."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=BUILD_TIMEOUT_S, check=False).stdout
    sources = b"".join(file.read_bytes() for file in sorted(SOURCES.iterdir()))
    parts = (sources, version, " ".join(FLAGS).encode(), platform.machine().encode(), _cpu_flags())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _cpu_flags() -> bytes:
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return next((line for line in lines if line.lower().startswith((b"flags", b"features"))), b"")
