"""HTTP to one OpenAI-compatible server: what is asked, what comes back, and whose fault it is when nothing does.

The only home of the key, and of aiohttp: half the event loop's time per piece that httpx takes at 64 streams, a quarter
of the openai package's. The key is in no exception's text.
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
INFO_S = 15.0  # for what is asked beside answers: the list of models, the version
DRAIN_S = 0.5  # that a response may take to end when all has been said, so that its connection can serve again
TOTAL_FACTOR = 12  # times the time of silence that a whole answer may take
MAX_READ = 1 << 20  # bytes of a list or an error
HIDDEN = "(the key)"
PORTS = {"http": 80, "https": 443}  # where a URL names none


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the name of the variable that it came from. Never shows itself."""

    variable: str
    value: str = field(default="", repr=False)

    def hidden(self, text: str) -> str:
        """A text of others, without the key."""
        return text.replace(self.value, HIDDEN) if self.value else text


def key_from(variable: str, environ: Mapping[str, str], required: bool) -> Key:
    """The key in a variable; empty if it is not set and not `required`. Raises ConfigError."""
    value = environ.get(variable, "").strip()
    if required and not value:
        raise ConfigError(f"endpoint.key_env is {variable!r} but there is no such environment variable; set it")
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(f"{variable}: holds letters that no key has; set it again")
    register(value)  # the variable's name need not say that it holds a secret
    return Key(variable, value)


class Client:
    """Connections to one base URL. Made within a running event loop."""

    def __init__(self, url: str, key: Key, silence_s: float) -> None:
        """`silence_s` bounds how long the server may say nothing within an answer, from its request on."""
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
        """Have the reader read the answer to a body; its answers that are finished are whole whatever is raised.

        Raises ServerFault, ServerRefused, or ConfigError where no request can succeed.
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
        """What lies at a URL, as JSON; None where that is nothing. Raises as ask() does."""
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
        try:
            return json_value(body)
        except (ValueError, RecursionError):
            return None

    def hide(self, text: str) -> str:
        """A server's own words without the key and other secrets. To be called before they are cut."""
        return scrub(self.key.hidden(text))

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        return headers | ({"Authorization": f"Bearer {self.key.value}"} if self.key.value else {})

    async def _read(self, response: aiohttp.ClientResponse, reader: StreamReader) -> None:
        if response.status != 200:
            raise self._error_of(response, await _body(response))
        if response.content_type == "text/html":
            raise ServerFault("sent a page for people instead of an answer")
        async for data in response.content.iter_any():
            reader.feed(data, time.perf_counter())
            if reader.done:
                break
        reader.end(time.perf_counter())
        if reader.done:
            await _drain(response)

    def _error_of(self, response: aiohttp.ClientResponse, body: bytes) -> Exception:
        if 300 <= response.status < 400:
            place = self.hide(response.headers.get("Location", "somewhere else").partition("?")[0])[:200]
            return ConfigError(f"{self.url}: leads on to {place}; name the place itself in endpoint.urls")
        return error_of(response.status, response.headers, body, self.hide)

    def _fault_of(self, error: Exception) -> Exception:
        """What an exception of the library means. Its own text may name what is not to be shown."""
        match error:
            case aiohttp.InvalidURL():
                return ConfigError(f"{self.url}: is no URL that can be asked; mend it in endpoint.urls")
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return ConfigError(f"{self.url}: its certificate is not trusted; mend that, or use another endpoint")
            case aiohttp.ClientConnectorDNSError():
                return ServerFault("its name is not known", "unreachable")
            case aiohttp.ConnectionTimeoutError():
                return ServerFault("no connection in time", "unreachable")
            case aiohttp.ClientConnectorError():
                return ServerFault(
                    f"no connection ({os.strerror(error.os_error.errno or errno.ECONNREFUSED)})", "unreachable"
                )
            case aiohttp.SocketTimeoutError():
                return ServerFault(f"said nothing for {self._silence_s:g} s (endpoint.timeout_s)")
            case TimeoutError():
                return ServerFault(
                    f"was not done within {TOTAL_FACTOR * self._silence_s:g} s ({TOTAL_FACTOR} x endpoint.timeout_s)"
                )
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
                return ServerFault("the connection broke")
        return ServerFault(f"sent what is no HTTP ({type(error).__name__})")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """All of a body that is read at once, up to a limit."""
    body = b""
    while len(body) < MAX_READ and (more := await response.content.read(MAX_READ)):
        body += more
    return body


async def _drain(response: aiohttp.ClientResponse) -> None:
    """All is said; a response that ends leaves its connection to the next request, any other takes it along."""
    try:
        async with asyncio.timeout(DRAIN_S):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()


def proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy for a URL, of those in the environment; "no" (NO_PROXY) names hosts, or hosts with their port."""
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
