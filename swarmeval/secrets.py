"""Removes secrets (keys, tokens and passwords) from texts and data before they are written or shown.

Applied to error messages, log lines, the manifest, data sent to trackers, stdout and stderr. Model replies are
not changed, because they are measurements.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TextIO, cast
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
SHORTEST = 8  # shorter values are ordinary words; "none", "EMPTY" and "dummy" are common if no key is needed
# No letter may follow, because TOKENIZERS_PARALLELISM and max_new_tokens do not name secrets.
NAMED = re.compile(r"(?:keys?|token|secrets?|passw(?:or)?ds?|passphrase|credentials?)(?![a-z])", re.IGNORECASE)
PLACE = re.compile(r"_(?:path|file|dir)$", re.IGNORECASE)  # the location of a secret is not secret
# Secrets recognized by the text before them, for texts from other sources.
SHAPES = (
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]+(@)"),  # https://user:password@host
    re.compile(r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:bearer\s+|basic\s+|token\s+)?)[^\s'\",]+()"),
    re.compile(r"(?i)(\bbearer\s+)[a-z0-9._~+/=-]{16,}()"),
    re.compile(r"(?i)(--[\w-]*(?:key|token|secret|passw(?:or)?d)[= ])\S+()"),  # unknown command-line flags
    re.compile(
        r"(?i)((?:api|access|secret|private|auth|hf|hub|id)[_-]?(?:key|token|secret)['\"]?\s*=\s*['\"]?)[^\s'\",;&)}\]]+()"
    ),
    re.compile(r"(?i)([?&](?:key|token|sig|signature)=)[^\s'\"&]+()"),
    re.compile(r"(?i)((?:key|token|secret|passw(?:or)?d)['\"]\s*:\s*['\"])[^'\"]+()"),  # {"api_key": "..."}
    re.compile(r"(?i)(\b\w*passw(?:or)?d\s*=\s*['\"]?)[^\s'\",;&)}\]]+()"),
)
SIGNS = re.compile(r"://|[=:]|--|bearer", re.IGNORECASE)  # every shape contains one of these

registered: set[str] = set()


def named(name: str) -> bool:
    """Whether a name indicates that its value is a secret."""
    return NAMED.search(name) is not None and PLACE.search(name) is None


def register(value: object) -> None:
    """Hide this value in all later texts."""
    registered.add(str(value))


def scrub(text: str) -> str:
    """Hide the secrets of this process's environment and settings in a text, and anything that looks like a secret."""
    return _without(_known(), text)


def scrubbed(value: Any) -> Any:
    """Scrub every text in plain data, and hide values whose keys name secrets."""
    known = _known()
    clean = cache(lambda text: _without(known, text))  # a manifest may list a million similar agents

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, Mapping):
            return {key: HIDDEN if _is_secret(key, inner) else walk(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner) for inner in value]
        return value

    return walk(value)


def guard() -> None:
    """Scrub everything that this process writes to stdout and stderr from now on, including tracebacks."""
    sys.stdout, sys.stderr = (cast(TextIO, Guarded(stream)) for stream in (sys.stdout, sys.stderr))


class Guarded:
    """A text stream that scrubs its output and otherwise delegates to the original stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(scrub(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_secret(key: object, value: object) -> bool:
    return isinstance(value, str) and value != "" and isinstance(key, str) and named(key)


def _without(known: Sequence[str], text: str) -> str:
    for value in known:
        text = text.replace(value, HIDDEN)
    if SIGNS.search(text):
        for shape in SHAPES:
            text = shape.sub(rf"\1{HIDDEN}\2", text)
    return text


def _known() -> list[str]:
    """All forms in which known secrets may occur in a text, longest first."""
    values = set(registered)
    for name, value in os.environ.items():
        if named(name):
            values.add(value)
        elif "://" in value:
            values.update(_of_url(value))
    lines = {line.strip() for value in values for line in value.splitlines()}
    forms = {form for line in lines if len(line) >= SHORTEST for form in _forms(line)}
    return sorted(forms, key=len, reverse=True)


def _of_url(url: str) -> Iterator[str]:
    """The password in a URL, in quoted and unquoted form."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)


def _forms(value: str) -> tuple[str, ...]:
    """The value itself, and as written in JSON, Python and URLs."""
    return (
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(value, safe=""),
    )
