"""Decodes the bodies of requests. Does not know what they ask for."""

import json
from typing import TypeVar

import msgspec

from swarmeval.surrogates import data_without_lone

T = TypeVar("T")


def decoded(body: bytes, kind: type[T]) -> T:
    """The body as this type. Lone surrogates become U+FFFD: a reply that was cut within an emoji ends with one.

    Raises ValueError or RecursionError.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        if rb"\ud" not in body.lower():
            raise
        try:
            data, _ = data_without_lone(json.loads(body))
        except (ValueError, RecursionError):
            raise error from None
        return msgspec.convert(data, kind)
