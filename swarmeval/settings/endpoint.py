"""`endpoint:` servers that answer a run. What could be a secret is refused without being shown."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from swarmeval.settings.section import WEEK_S, Resumable, Section

# Fields of a request that a setting decides: endpoint.body may leave them out, and may not say otherwise.
DECIDED = {
    "max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens", "temperature": "temperature",
    "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repetition_penalty", "stop": "stop", "seed": "seed",
    "repeat_penalty": "repetition_penalty",
}  # fmt: skip
OURS = ("model", "messages", "prompt", "stream", "n")
NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


class EndpointSettings(Section):
    """OpenAI-compatible servers and how they are asked."""

    urls: Resumable[tuple[Annotated[str, Field(min_length=1)], ...]] = Field(
        (), description="base URLs of the servers, as http://host:8000/v1"
    )
    key_env: Resumable[str] = Field(
        "OPENAI_API_KEY", min_length=1, description="the environment variable that holds the key, where one is wanted"
    )
    dialect: Literal["vllm", "llama.cpp", "openai", "plain"] = Field(
        "vllm", description="which fields a server knows; see Other engines"
    )
    body: dict[str, Any] = Field({}, description="further fields of each request; null leaves one out. Not for secrets")
    samples: Literal["off", "auto"] = Field(
        "off", description="auto: one request for jobs that differ in their seed only, whose replies then do not repeat"
    )
    concurrency: Resumable[int] = Field(64, ge=1, le=4096, description="requests at once, of each endpoint")
    timeout_s: Resumable[float] = Field(
        600.0, gt=0, le=WEEK_S, description="how long a server may say nothing, at the start of an answer and within"
    )

    @field_validator("urls", mode="before")
    @classmethod
    def _no_secret_in_urls(cls, typed: object) -> object:
        """Before anything else is checked, for what is refused otherwise may be shown."""
        urls = typed if isinstance(typed, Sequence) and not isinstance(typed, str) else [typed]
        if any("@" in url for url in urls if isinstance(url, str)):
            raise ValueError(
                "a URL holds user:password@; take it out, keys come from the variable endpoint.key_env names"
            )
        if any(mark in url for url in urls if isinstance(url, str) for mark in "?#"):
            raise ValueError("a URL holds a ? or a #, where secrets may stand; give the base URL alone")
        return typed

    @field_validator("key_env", mode="before")
    @classmethod
    def _no_key_itself(cls, typed: object) -> object:
        if isinstance(typed, str) and not NAME.fullmatch(typed):
            raise ValueError(
                "is not the name of an environment variable (A-Z, 0-9 and _); "
                "a key itself belongs into the variable, and in no file"
            )
        return typed

    def faults(self) -> Iterator[str]:
        """Why no server can be asked like this."""
        if not self.urls:
            yield "fleet is 'endpoint' but endpoint.urls is empty; name one, as endpoint.urls: [http://host:8000/v1]"
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
                yield f"endpoint.urls: {url!r} is no base URL; write it as http://host:8000/v1"
        if len({url.rstrip("/") for url in self.urls}) < len(self.urls):
            yield "endpoint.urls: one URL stands there twice; raise endpoint.concurrency to ask it for more at once"

    def _faults_of_body(self) -> Iterator[str]:
        for name, value in self.body.items():
            if name in OURS:
                yield f"endpoint.body.{name} is not free: Swarmeval decides it"
            elif name in DECIDED and value is not None:
                yield f"endpoint.body.{name} is decided by {DECIDED[name]}; set that, or null to leave the field out"
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            yield "endpoint.body holds what is no JSON"
