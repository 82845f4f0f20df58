"""Compiled kernels for the CPU: built from cpp/ by a C++ compiler, cached, and called through ctypes.

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
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from swarmeval.engine.decoder import Unsupported
from swarmeval.engine.placed_tokens import Numbers, Tokens
from swarmeval.home import cache_folder

PAGE = 16  # tokens; must equal PAGE in cpp/pages.h
SOURCES = Path(__file__).with_name("cpp")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-std=c++17")
COMPILERS = ("c++", "g++", "clang++")
BUILD_TIMEOUT_S = 120.0
_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


class Unavailable(Exception):
    """The kernels are unavailable on this machine; str() gives the reason."""


class NativeKernels:
    """Kernels: the functions of cpp/kernels.cpp over tensors of one dtype, bf16 or fp32, on the CPU."""

    page = PAGE
    compiled = True

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

    def pool(self, pages: int, heads: int, size: int) -> Tensor:
        """[pages, heads, 16 * size], in the layout of cpp/pages.h."""
        if size % PAGE:
            raise Unsupported(f"head size {size} is not a multiple of {PAGE}")
        # Not initialised: unwritten places are never read, and untouched memory is not allocated.
        return torch.empty(pages, heads, PAGE * size, dtype=self.dtype)

    def reads(self, tokens: Tokens) -> list[Numbers]:
        """Page table, tokens to attend to in shared and own pages, and group of each token."""
        return [tokens.table, tokens.shared, tokens.own, tokens.group]

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, reads: Sequence[Tensor], scale: float) -> Tensor:
        """Attend as the contract says; a token without anything to attend to gets zeros."""
        table, shared, own, group = reads
        tokens, heads, size = query.shape
        order = torch.arange(tokens, dtype=torch.int32)
        query = _whole_heads(query)
        output = query.new_empty(tokens, heads, size)
        self._attend(
            _at(query), _long(query.stride(0)), _at(output), _at(keys), _at(values), _at(table), _long(table.stride(0)),
            _at(shared), _at(own), _at(order), _at(group), tokens, heads, keys.shape[1], size, ctypes.c_float(scale),
        )  # fmt: skip
        return output

    def put(self, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor) -> None:
        key, value = _whole_heads(key), _whole_heads(value)
        self._put(
            _at(key), _long(key.stride(0)), _at(value), _long(value.stride(0)), _at(keys), _at(values), _at(page),
            _at(offset), *key.shape,
        )  # fmt: skip

    def rotate_and_put(
        self, joined: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor
    ) -> None:
        cosine, sine = cosine.contiguous(), sine.contiguous()
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


def load(dtype: torch.dtype) -> NativeKernels:
    """Load the kernels for this dtype, building them first if they are not cached. Raises Unavailable."""
    return NativeKernels(_library(), dtype)


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
    file = cache_folder() / f"kernels-{_fingerprint(compiler)}.so"
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
