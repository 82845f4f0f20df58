"""`endpoint:` the servers that generate a run's replies. Values that may hold a secret are refused unshown."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from swarmeval.settings.section import WEEK_S, Resumable, Section

# Request fields that a setting decides. endpoint.body may remove them (null) but not set them.
DECIDED = {
    "max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens", "temperature": "temperature",
    "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repetition_penalty", "stop": "stop", "seed": "seed",
    "repeat_penalty": "repetition_penalty", "min_p": "min_p", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty", "logit_bias": "logit_bias",
}  # fmt: skip
OURS = ("model", "messages", "prompt", "stream", "n")
NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


class EndpointSettings(Section):
    """OpenAI-compatible servers and how requests are sent to them."""

    urls: Resumable[tuple[Annotated[str, Field(min_length=1)], ...]] = Field(
        (), description="base URLs of the servers, for example [http://host:8000/v1]"
    )
    key_env: Resumable[str] = Field(
        "OPENAI_API_KEY",
        min_length=1,
        description="environment variable that holds the API key, if the servers need one",
    )
    dialect: Literal["vllm", "llama.cpp", "openai", "plain"] = Field(
        "vllm", description="request fields that the servers accept; see Other engines"
    )
    body: dict[str, Any] = Field(
        {}, description="extra fields for each request; null removes a field. Do not put secrets here"
    )
    samples: Literal["off", "auto"] = Field(
        "off",
        description="auto: send jobs that differ only in their seed as one request (n > 1); not reproducible",
    )
    concurrency: Resumable[int] = Field(64, ge=1, le=4096, description="concurrent requests per endpoint")
    timeout_s: Resumable[float] = Field(
        600.0,
        gt=0,
        le=WEEK_S,
        description="seconds without data, before or during a reply, after which a request is retried",
    )

    @field_validator("urls", mode="before")
    @classmethod
    def _no_secret_in_urls(cls, typed: object) -> object:
        """Run before all other checks, whose messages may quote the value."""
        urls = typed if isinstance(typed, Sequence) and not isinstance(typed, str) else [typed]
        if any("@" in url for url in urls if isinstance(url, str)):
            raise ValueError(
                "a URL contains user:password@; remove it and put the key in the variable that endpoint.key_env names"
            )
        if any(mark in url for url in urls if isinstance(url, str) for mark in "?#"):
            raise ValueError("a URL contains ? or #, which may introduce a secret; give only the base URL")
        return typed

    @field_validator("key_env", mode="before")
    @classmethod
    def _no_key_itself(cls, typed: object) -> object:
        if isinstance(typed, str) and not NAME.fullmatch(typed):
            raise ValueError(
                "is not the name of an environment variable (A-Z, 0-9 and _); "
                "put the key in that variable, not in a file"
            )
        return typed

    def faults(self) -> Iterator[str]:
        """Errors in these settings that would stop every request, one per line."""
        if not self.urls:
            yield "fleet is 'endpoint' but endpoint.urls is empty; set it, for example to [http://host:8000/v1]"
        yield from self._faults_of_urls()
        yield from self._faults_of_body()

    def _faults_of_urls(self) -> Iterator[str]:
        for url in self.urls:
            try:
                parts = urlsplit(url)
                host, _ = parts.hostname, parts.port
            except ValueError:
                host = None
            if host is None or parts.scheme not in ("http", "https") or re.search(r"\s", url):
                yield f"endpoint.urls: {url!r} is not a base URL; write it as http://host:8000/v1"
        if len({url.rstrip("/") for url in self.urls}) < len(self.urls):
            yield "endpoint.urls lists a URL twice; to send it more requests at once, raise endpoint.concurrency"

    def _faults_of_body(self) -> Iterator[str]:
        for name, value in self.body.items():
            if name in OURS:
                yield f"endpoint.body.{name} cannot be set: Swarmeval sets it; remove it"
            elif name in DECIDED and value is not None:
                yield f"endpoint.body.{name}: set {DECIDED[name]} instead, or use null to remove the field"
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            yield "endpoint.body contains a value that JSON cannot represent; remove it"
