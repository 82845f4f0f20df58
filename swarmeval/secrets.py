"""What must never be written down: keys, tokens and passwords, wherever they come from. Knows no file and no log.

Whatever may carry one passes through here: the text of every error of ours, log lines, the manifest, what goes to
Weights & Biases, stdout and stderr. Replies of models are not touched: what was measured stays as it is.
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
SHORTEST = 8  # shorter ones are words of any text: "none", "EMPTY" and "dummy" often stand where a key is not needed
# A letter behind it makes another word: TOKENIZERS_PARALLELISM and max_new_tokens are none.
NAMED = re.compile(r"(?:keys?|token|secrets?|passw(?:or)?ds?|passphrase|credentials?)(?![a-z])", re.IGNORECASE)
PLACE = re.compile(r"_(?:path|file|dir)$", re.IGNORECASE)  # where a secret lies is none
# Secrets that are seen by what stands before them, in texts that come from elsewhere.
SHAPES = (
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]+(@)"),  # https://user:password@host
    re.compile(r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:bearer\s+|basic\s+|token\s+)?)[^\s'\",]+()"),
    re.compile(r"(?i)(\bbearer\s+)[a-z0-9._~+/=-]{16,}()"),
    re.compile(r"(?i)(--[\w-]*(?:key|token|secret|passw(?:or)?d)[= ])\S+()"),  # a flag that there is not
    re.compile(
        r"(?i)((?:api|access|secret|private|auth|hf|hub|id)[_-]?(?:key|token|secret)['\"]?\s*=\s*['\"]?)[^\s'\",;&)}\]]+()"
    ),
    re.compile(r"(?i)([?&](?:key|token|sig|signature)=)[^\s'\"&]+()"),
    re.compile(r"(?i)((?:key|token|secret|passw(?:or)?d)['\"]\s*:\s*['\"])[^'\"]+()"),  # {"api_key": "..."}
    re.compile(r"(?i)(\b\w*passw(?:or)?d\s*=\s*['\"]?)[^\s'\",;&)}\]]+()"),
)
SIGNS = re.compile(r"://|[=:]|--|bearer", re.IGNORECASE)  # no shape is without one of these

registered: set[str] = set()


def named(name: str) -> bool:
    """Whether a name says that what it holds is a secret."""
    return NAMED.search(name) is not None and PLACE.search(name) is None


def register(value: object) -> None:
    """Keep this out of all texts from now on."""
    registered.add(str(value))


def scrub(text: str) -> str:
    """The text without the secrets of this process's environment and settings, and without what looks like one."""
    return _without(_known(), text)


def scrubbed(value: Any) -> Any:
    """Plain data with every text in it scrubbed, and nothing under a name that says what it is."""
    known = _known()
    clean = cache(lambda text: _without(known, text))  # a manifest may name a million agents, most of them alike

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
    """From now on stdout and stderr of this process say no secret, whoever writes: tracebacks and libraries too."""
    sys.stdout, sys.stderr = (cast(TextIO, Guarded(stream)) for stream in (sys.stdout, sys.stderr))


class Guarded:
    """A text stream that says no secret; all else about it is the stream's own."""

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
    """Every form in which a secret that is known may stand in a text, the longest first."""
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
    """The password in a URL, as it is written and as it is meant."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)


def _forms(value: str) -> tuple[str, ...]:
    """As it is, and as JSON, Python and URLs write it."""
    return (
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(value, safe=""),
    )
