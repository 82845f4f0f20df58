"""Reads LiveCodeBench's tests: JSON, or JSON that was pickled, compressed and written as base64. Runs nothing."""

import base64
import binascii
import io
import pickle
import zlib
from typing import NoReturn

import msgspec

MOST_BYTES = 1 << 30  # of the tests of one task, uncompressed


class TestRow(msgspec.Struct):
    """One test as published: standard input and output, or arguments and return value as JSON."""

    __test__ = False  # for pytest

    input: str
    output: str
    testtype: str


class UnreadableTests(Exception):
    """A text that does not contain tests, with the reason."""


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles plain values. A pickle that names a class or a function could run any code, and is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise UnreadableTests(f"its pickle names {module}.{name}")

    def persistent_load(self, pid: object) -> NoReturn:
        raise UnreadableTests("its pickle names an object outside it")


def unpacked(text: str) -> list[TestRow]:
    """The tests in a text. Raises UnreadableTests."""
    plain = text if text.lstrip().startswith(("[", "{")) else unpickled(text)
    if not isinstance(plain, str):
        raise UnreadableTests(f"its pickle holds a {type(plain).__name__}, not a text")
    try:
        return msgspec.json.decode(plain, type=list[TestRow])
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableTests(f"not JSON of tests: {error}") from None


def unpickled(text: str) -> object:
    """The plain value in a compressed pickle. Raises UnreadableTests."""
    try:
        stream = zlib.decompressobj()
        content = stream.decompress(base64.b64decode(text, validate=True), MOST_BYTES)
        if not stream.eof:
            raise UnreadableTests(f"cut off, or more than {MOST_BYTES:,} bytes")
        value: object = _PlainUnpickler(io.BytesIO(content)).load()
    except (binascii.Error, zlib.error) as error:
        raise UnreadableTests(f"not compressed base64: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnreadableTests(f"not a pickle: {error}") from None
    return value
