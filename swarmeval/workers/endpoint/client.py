"""HTTP client for one OpenAI-compatible server, with its errors classified as faults, refusals or config errors.

The only module that holds the API key or imports aiohttp. At 64 streams, aiohttp takes half the event-loop time per
piece of httpx and a quarter of that of the openai package. The key never appears in an exception's text.
"""

import asyncio
import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from swarmeval.errors import ConfigError
from swarmeval.secrets import register, scrub
from swarmeval.workers.endpoint.events import json_value
from swarmeval.workers.endpoint.faults import ServerFault, error_of
from swarmeval.workers.endpoint.stream import StreamReader

CONNECT_S = 15.0
INFO_S = 15.0  # limit for requests other than answers: the model list, the version
DRAIN_S = 0.5  # limit for a response to close after its last event, so that the connection can be reused
TOTAL_FACTOR = 12  # limit for a complete answer, in multiples of the silence limit
MAX_READ = 1 << 20  # bytes of a list or an error
HIDDEN = "(the key)"
PORTS = {"http": 80, "https": 443}  # default ports


@dataclass(frozen=True, slots=True)
class Key:
    """An API key and the name of its environment variable. Its repr does not show the key."""

    variable: str
    value: str = field(default="", repr=False)

    def hidden(self, text: str) -> str:
        """The text with the key replaced."""
        return text.replace(self.value, HIDDEN) if self.value else text


def key_from(variable: str, environ: Mapping[str, str], required: bool) -> Key:
    """Read the key from an environment variable; empty if unset and not `required`. Raises ConfigError."""
    value = environ.get(variable, "").strip()
    if required and not value:
        raise ConfigError(f"endpoint.key_env is {variable!r} but this environment variable is not set; set it")
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(f"{variable}: contains characters that cannot occur in a key; set it again")
    register(value)  # the variable's name may not reveal that it holds a secret
    return Key(variable, value)


class Client:
    """Connections to one base URL. Create it inside a running event loop."""

    def __init__(self, url: str, key: Key, silence_s: float) -> None:
        """`silence_s` limits how long the server may send nothing, from the request to the end of its answer."""
        self.url = url.rstrip("/")
        self.key = key
        self._silence_s = silence_s
        self._proxy = proxy_for(self.url, getproxies())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Accept-Encoding": "identity", "User-Agent": "swarmeval"},
        )

    async def close(self) -> None:
        await self._session.close()

    async def complete(self, path: str, body: Mapping[str, Any], reader: StreamReader) -> None:
        """Send a body and feed the response to the reader. Answers that the reader has finished are valid in any case.

        Raises ServerFault, ServerRefused, or ConfigError if no request can succeed.
        """
        limits = aiohttp.ClientTimeout(
            total=TOTAL_FACTOR * self._silence_s,
            sock_connect=min(CONNECT_S, self._silence_s),
            sock_read=self._silence_s,
        )
        data = msgspec.json.encode(body)
        try:
            async with self._session.post(
                f"{self.url}/{path}", data=data, headers=self._headers(), proxy=self._proxy,
                timeout=limits, allow_redirects=False,
            ) as response:  # fmt: skip
                try:
                    await self._read(response, reader)
                finally:
                    if not reader.done:
                        response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._fault_of(error) from None

    async def get_json(self, url: str, with_key: bool) -> Any:
        """Get a URL and decode it as JSON; None if it is not JSON. Raises like complete()."""
        try:
            return json_value(await self._get(url, with_key))
        except (ValueError, RecursionError):
            return None

    async def get_text(self, url: str) -> str:
        """Get a URL as text, without the key. Raises like complete()."""
        return (await self._get(url, with_key=False)).decode(errors="replace")

    async def _get(self, url: str, with_key: bool) -> bytes:
        limits = aiohttp.ClientTimeout(total=INFO_S, sock_connect=CONNECT_S)
        try:
            async with self._session.get(
                url, headers=self._headers() if with_key else {}, proxy=self._proxy, timeout=limits,
                allow_redirects=False,
            ) as response:  # fmt: skip
                body = await _body(response)
                if response.status != 200:
                    raise self._error_of(response, body)
        except TimeoutError:
            raise ServerFault(f"did not answer within {INFO_S:g} s", "unreachable") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._fault_of(error) from None
        return body

    def hide(self, text: str) -> str:
        """A server's text without the key and other secrets. Call it before the text is truncated."""
        return scrub(self.key.hidden(text))

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        return headers | ({"Authorization": f"Bearer {self.key.value}"} if self.key.value else {})

    async def _read(self, response: aiohttp.ClientResponse, reader: StreamReader) -> None:
        if response.status != 200:
            raise self._error_of(response, await _body(response))
        if response.content_type == "text/html":
            raise ServerFault("sent an HTML page instead of an answer")
        async for data in response.content.iter_any():
            reader.feed(data, time.perf_counter())
            if reader.done:
                break
        reader.end(time.perf_counter())
        if reader.done:
            await _drain(response)

    def _error_of(self, response: aiohttp.ClientResponse, body: bytes) -> Exception:
        if 300 <= response.status < 400:
            place = self.hide(response.headers.get("Location", "another URL").partition("?")[0])[:200]
            return ConfigError(f"{self.url}: redirects to {place}; use that URL in endpoint.urls")
        return error_of(response.status, response.headers, body, self.hide)

    def _fault_of(self, error: Exception) -> Exception:
        """Translate an exception of aiohttp. Its own text is dropped, because it may contain secrets."""
        match error:
            case aiohttp.InvalidURL():
                return ConfigError(f"{self.url}: not a valid URL; fix it in endpoint.urls")
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return ConfigError(f"{self.url}: its certificate is not trusted; fix that or use another endpoint")
            case aiohttp.ClientConnectorDNSError():
                return ServerFault("host name not found", "unreachable")
            case aiohttp.ConnectionTimeoutError():
                return ServerFault("connection timed out", "unreachable")
            case aiohttp.ClientConnectorError():
                return ServerFault(
                    f"cannot connect ({os.strerror(error.os_error.errno or errno.ECONNREFUSED)})", "unreachable"
                )
            case aiohttp.SocketTimeoutError():
                return ServerFault(f"sent nothing for {self._silence_s:g} s (endpoint.timeout_s)")
            case TimeoutError():
                return ServerFault(
                    f"did not finish within {TOTAL_FACTOR * self._silence_s:g} s ({TOTAL_FACTOR} x endpoint.timeout_s)"
                )
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
                return ServerFault("connection lost")
        return ServerFault(f"sent invalid HTTP ({type(error).__name__})")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Read a body, up to MAX_READ."""
    body = b""
    while len(body) < MAX_READ and (more := await response.content.read(MAX_READ)):
        body += more
    return body


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Wait for the end of a complete response, so that its connection can be reused; close it after DRAIN_S."""
    try:
        async with asyncio.timeout(DRAIN_S):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()


def proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy from the environment for a URL. Entry "no" (NO_PROXY) lists hosts, optionally with a port."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    names = (host, f"{host}:{port}", f"[{host}]", f"[{host}]:{port}")
    if (
        host == "localhost"
        or host.startswith("127.")
        or host == "::1"
        or any(proxy_bypass(name, proxies) for name in names)
    ):
        return None
    return proxies.get(parts.scheme)
