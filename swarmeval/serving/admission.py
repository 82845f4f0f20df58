"""Access control: an ASGI middleware that checks the API key or, without one, the Host header. Reads no body."""

import base64
import binascii
import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from swarmeval.serving.errors import ApiError, ForeignHost, NoKey, TooLarge

OPEN = "/health"  # needs no key, so that monitoring can use it
BEARER, BASIC = b"bearer ", b"basic "  # Basic: for clients that only take a URL; its password is the key
CLIENT = "swarmeval.client"  # entry of an allowed call's scope: which key it showed or, without keys, its address


class Admission:
    """Forwards allowed calls to the app and answers all others with an error."""

    def __init__(
        self,
        app: ASGIApp,
        key: str | None,
        hosts: Callable[[str], bool],
        max_body_bytes: int,
        refused: Callable[[Scope, ApiError], Response],
    ) -> None:
        """`key` holds the API keys, separated by commas; None: `hosts` decides which Host headers are allowed."""
        self._app = app
        self._keys = None if key is None else keys_in(key)
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
        except ApiError as fault:
            await self._refused(scope, fault)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Check a call's key or host, and the length of its body. Raises NoKey, ForeignHost, TooLarge."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        scope[CLIENT] = (scope.get("client") or ("unknown",))[0]  # never "", the owner of the benchmark's tests
        if self._keys is None:
            named = [value.decode("latin-1") for name, value in headers if name == b"host"]
            if len(named) != 1 or not self._hosts(named[0]):
                raise ForeignHost(", ".join(named))
        elif scope["path"] != OPEN:
            shown = [value for name, value in headers if name == b"authorization"]
            number = self._number(shown[0]) if len(shown) == 1 else None
            if number is None:
                raise NoKey("missing or wrong API key; send it as `Authorization: Bearer KEY`")
            scope[CLIENT] = f"key {number}"
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        if int(length) > self._max_body_bytes:
            raise TooLarge(self._max_body_bytes)

    def _number(self, shown: bytes) -> int | None:
        """The number of the key that the header shows, from 1; None if it shows none. Takes constant time."""
        key = _key_in(shown)
        found = [hmac.compare_digest(key, one) for one in self._keys or ()]
        return found.index(True) + 1 if True in found else None


def keys_in(text: str) -> tuple[bytes, ...]:
    """The keys in a text that separates them by commas; the text itself if there is nothing else in it."""
    keys = tuple(filter(None, (part.strip() for part in text.split(",")))) or (text,)
    return tuple(key.encode(errors="surrogateescape") for key in keys)


def _key_in(shown: bytes) -> bytes:
    """The key in the value of an Authorization header."""
    if shown[: len(BASIC)].lower() == BASIC:
        try:
            return base64.b64decode(shown[len(BASIC) :].strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return shown[len(BEARER) :].strip() if shown[: len(BEARER)].lower() == BEARER else shown.strip()


class AllowedHosts:
    """The host names under which a server without a key answers.

    This prevents DNS rebinding: a web page whose domain was pointed at this machine sends its own name as the Host
    header. IP addresses are safe, since they cannot be rebound.
    """

    def __init__(self, bound: str, more: Collection[str]) -> None:
        """`bound` is the address that the server listens on, `more` additional names."""
        own = {bound, *more} if is_loopback(bound) else {bound, socket.gethostname(), socket.getfqdn(), *more}
        self._names = {"localhost"} | {name.lower().rstrip(".") for name in own}
        self._loopback_only = is_loopback(bound)

    def __call__(self, host: str) -> bool:
        """Whether the value of a Host header names this server."""
        name = _without_port(host.lower())
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._names
        return address.is_loopback or not self._loopback_only


def is_loopback(host: str) -> bool:
    """Whether this name or address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _without_port(host: str) -> str | None:
    """The name or address in a Host header; None if it is malformed."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif port and not (port.isascii() and port.isdigit()):
        return None
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return None if ":" in name else name
