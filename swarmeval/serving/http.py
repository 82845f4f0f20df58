"""The HTTP server around the app: a socket, an end that lets what has begun finish. It and connection know uvicorn."""

import contextlib
import logging
import resource
import socket

import uvicorn
from starlette.types import ASGIApp

from swarmeval.errors import ConfigError
from swarmeval.serving.connection import BoundedConnection, Deadlines

BACKLOG = 2048  # connections that may wait to be taken
FILES_BESIDE = 256  # a process has open besides its connections and those that wait to be taken
DEADLINES = Deadlines()
END_S = 30  # what has begun may take so long once the server is to end

log = logging.getLogger("swarmeval")


def listener(host: str, port: int) -> socket.socket:
    """A socket that clients can already reach; port 0 is any free one. Raises ConfigError where it cannot be had."""
    try:
        family, kind, number, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, number)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(place)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"serve.host {host}, serve.port {port}: cannot listen there ({error.strerror}); choose another"
        ) from None
    return sock


def url(host: str, port: int) -> str:
    """Where clients find OpenAI's API."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def allow_files(connections: int) -> None:
    """Let this process open as many files as its connections take. Raises ConfigError where it may not."""
    needed = connections + BACKLOG + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if hard != unlimited and hard < needed:
        raise ConfigError(
            f"serve.connections is {connections}, which takes {needed} open files; this process may have {hard} "
            "(ulimit -Hn); lower the one or raise the other"
        )
    if soft != unlimited and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class HttpServer:
    """Answers on a listening socket until told to end."""

    def __init__(self, app: ASGIApp, connections: int, deadlines: Deadlines = DEADLINES) -> None:
        """`connections` may be open at once; requests arrive within their `deadlines`."""

        class ServerConnection(BoundedConnection):
            pass

        ServerConnection.max_connections, ServerConnection.deadlines = connections, deadlines
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=ServerConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=END_S,
            )
        )
        # Its own handlers would raise the signal again before the fleet has stopped.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    async def serve(self, sock: socket.socket) -> None:
        """Return when end() was called and what had begun is answered."""
        await self._server.serve([sock])

    def end(self) -> None:
        """Take no new calls; said twice: let the others fall."""
        if self._server.should_exit:
            self._server.force_exit = True
            return
        log.warning("ending: what has begun is answered, for %d s at most; once more ends it at once", END_S)
        self._server.should_exit = True
