"""What may be set of endpoints: rules over plain values. What could be a secret is refused without being shown."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

# Fields of a request that a setting decides: endpoint_body may leave them out, and may not say otherwise.
DECIDED = {
    "max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens", "temperature": "temperature",
    "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repetition_penalty", "stop": "stop", "seed": "seed",
    "repeat_penalty": "repetition_penalty",
}  # fmt: skip
OURS = ("model", "messages", "prompt", "stream", "n")
NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


def secret(endpoints: object, key_env: object) -> str | None:
    """Why values as they were typed must not even be shown; None where they may."""
    urls = endpoints if isinstance(endpoints, Sequence) and not isinstance(endpoints, str) else [endpoints]
    if any("@" in url for url in urls if isinstance(url, str)):
        return "endpoints: a URL holds user:password@; take it out, keys come from the variable endpoint_key_env names"
    if any(mark in url for url in urls if isinstance(url, str) for mark in "?#"):
        return "endpoints: a URL holds a ? or a #, where secrets may stand; give the base URL alone"
    if isinstance(key_env, str) and not NAME.fullmatch(key_env):
        return (
            "endpoint_key_env: is not the name of an environment variable (A-Z, 0-9 and _); "
            "a key itself belongs into the variable, and in no file"
        )
    return None


def urls(endpoints: Sequence[str]) -> Iterator[str]:
    """What is wrong with base URLs."""
    for url in endpoints:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in ("http", "https") or re.search(r"\s", url):
            yield f"endpoints: {url!r} is no base URL; write it as http://host:8000/v1"
    if len({url.rstrip("/") for url in endpoints}) < len(endpoints):
        yield "endpoints: one URL stands there twice; raise endpoint_concurrency to ask it for more at once"


def fields(body: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with fields that are to be laid over requests."""
    for name, value in body.items():
        if name in OURS:
            yield f"endpoint_body.{name} is not free: Swarmeval decides it"
        elif name in DECIDED and value is not None:
            yield f"endpoint_body.{name} is decided by {DECIDED[name]}; set that, or null to leave the field out"
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        yield "endpoint_body holds what is no JSON"
