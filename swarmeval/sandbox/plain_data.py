"""Converts plain data to JSON text and back, for exchange between a program and its tests.

Reading only creates values of built-in types, so that no code of the other side ever runs here. Any other value becomes
an Opaque, which equals nothing.
"""

import json
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

SAFE_INT = 1 << 53  # larger ones are sent in hexadecimal, which converts in linear time
MOST_ITEMS = 1_000_000  # read from an iterator
ENCODER = json.JSONEncoder(allow_nan=False)  # json.dumps would make one for each value
TYPES = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, type(None))
}


class Malformed(ValueError):
    """A text that dumps() cannot have written."""


class Opaque:
    """Represents a value that is not plain data. Equal only to itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


def dumps(value: object) -> str:
    """Write a value as one line of JSON. Unsupported values are written as Opaque."""
    try:
        return ENCODER.encode(pack(value))
    except RecursionError:
        return json.dumps({"opaque": "a value nested too deeply"})


def loads(text: str | bytes) -> Any:
    """Read the value of one line. Raises Malformed."""
    return read(lambda: unpack(json.loads(text)))


def load_fields(text: str | bytes, names: Collection[str]) -> dict[str, Any]:
    """Read a JSON object of such values with only these names. Raises Malformed."""

    def fields() -> dict[str, Any]:
        content = json.loads(text)
        if not content.keys() <= set(names):
            raise ValueError("unexpected fields")
        return {name: unpack(value) for name, value in content.items()}

    loaded: dict[str, Any] = read(fields)
    return loaded


def read(values: Callable[[], Any]) -> Any:
    """Convert all errors of reading to Malformed."""
    try:
        return values()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None


def holds_opaque(text: str) -> bool:
    """Whether a text from dumps() contains an Opaque. Inside a JSON string the quote would be escaped."""
    return '{"opaque"' in text


def pack(value: Any) -> Any:
    """The JSON form of a value: lists, numbers and strings unchanged, other types as {name of the type: content}."""
    if value is None or value is True or value is False:
        return value
    for kind, write in WRITERS:
        if isinstance(value, kind):
            return write(value)
    return pack_foreign(value)


def pack_foreign(value: Any) -> Any:
    """The JSON form of other values: NumPy scalars as numbers, iterators as their remaining items, else Opaque."""
    if isinstance(value, Opaque):
        return {"returned": value.name}
    name = type(value).__name__
    if type(value).__module__ == "numpy":
        return pack(value.tolist()) if name != "ndarray" else {"opaque": name}
    if isinstance(value, Iterator):
        items = list(islice(value, MOST_ITEMS + 1))
        return {"iterator": [pack(item) for item in items]} if len(items) <= MOST_ITEMS else {"opaque": name}
    return {"opaque": name}


def pack_int(value: int) -> Any:
    value = int(value)
    return value if -SAFE_INT < value < SAFE_INT else {"int": hex(value)}


def pack_float(value: float) -> Any:
    value = float(value)
    return value if math.isfinite(value) else {"float": repr(value)}


def pack_pairs(value: Any) -> list[Any]:
    return [[pack(key), pack(item)] for key, item in value.items()]


def pack_type(value: type) -> Any:
    """A built-in type by its name. Tests pass, for example, `int` as a filter."""
    name = value.__name__
    return {"type": name} if TYPES.get(name) is value else {"opaque": name}


def named(name: str, write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {name: write(value)}


def pack_items(value: Any) -> list[Any]:
    return [pack(item) for item in value]


# The order matters: a Counter is also a dict.
WRITERS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, lambda value: str.__str__(value)),
    (int, pack_int),
    (float, pack_float),
    (list, pack_items),
    (tuple, named("tuple", pack_items)),
    (Counter, named("Counter", pack_pairs)),
    (OrderedDict, named("OrderedDict", pack_pairs)),
    (dict, named("dict", pack_pairs)),
    (set, named("set", pack_items)),
    (frozenset, named("frozenset", pack_items)),
    (deque, named("deque", pack_items)),
    (bytes, named("bytes", lambda value: value.hex())),
    (bytearray, named("bytearray", lambda value: value.hex())),
    (complex, named("complex", lambda value: [repr(value.real), repr(value.imag)])),
    (Decimal, named("Decimal", str)),
    (Fraction, named("Fraction", lambda value: [hex(value.numerator), hex(value.denominator)])),
    (range, named("range", lambda value: [hex(value.start), hex(value.stop), hex(value.step)])),
    (type({}.keys()), named("keys", pack_items)),
    (type({}.values()), named("values", pack_items)),
    (type({}.items()), named("items", pack_items)),
    (type, lambda value: pack_type(value)),
)  # fmt: skip


def unpack(value: Any) -> Any:
    """The value of a JSON form. Raises Malformed, and errors of the constructors of built-in types."""
    if isinstance(value, list):
        return unpack_items(value)
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise Malformed(f"an object of {len(value)} keys")
    ((name, content),) = value.items()
    if name not in READERS:
        raise Malformed(f"an object named {name[:40]!r}")
    return READERS[name](content)


def unpack_items(content: list[Any]) -> list[Any]:
    return [unpack(item) for item in content]


def unpack_pairs(content: list[Any]) -> dict[Any, Any]:
    return {unpack(key): unpack(item) for key, item in content}


def from_hex(content: str) -> int:
    return int(content, 16)


READERS: dict[str, Callable[[Any], Any]] = {
    "int": from_hex,
    "float": float,
    "tuple": lambda content: tuple(unpack_items(content)),
    "Counter": lambda content: Counter(unpack_pairs(content)),
    "OrderedDict": lambda content: OrderedDict(unpack_pairs(content)),
    "dict": unpack_pairs,
    "set": lambda content: set(unpack_items(content)),
    "frozenset": lambda content: frozenset(unpack_items(content)),
    "deque": lambda content: deque(unpack_items(content)),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda content: complex(*map(float, content)),
    "Decimal": Decimal,
    "Fraction": lambda content: Fraction(*map(from_hex, content)),
    "range": lambda content: range(*map(from_hex, content)),
    "keys": lambda content: dict.fromkeys(unpack_items(content)).keys(),
    "values": lambda content: dict(enumerate(unpack_items(content))).values(),
    "items": lambda content: dict(unpack_items(content)).items(),
    "iterator": lambda content: iter(unpack_items(content)),
    "type": lambda content: TYPES[content],
    "opaque": lambda content: Opaque(str(content)[:80]),
    "returned": lambda content: Opaque(str(content)[:80]),  # an Opaque that returns to the side that sent it
}


def put_back(target: Any, value: Any) -> None:
    """Copy the content that a call left in a mutable argument back into the argument."""
    if isinstance(target, list | bytearray) and isinstance(value, list | bytearray):
        target[:] = value
    elif (isinstance(target, dict) and isinstance(value, dict)) or (isinstance(target, set) and isinstance(value, set)):
        target.clear()
        target.update(value)
    elif isinstance(target, deque) and isinstance(value, deque):
        target.clear()
        target.extend(value)
