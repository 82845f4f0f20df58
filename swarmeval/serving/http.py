"""The HTTP server: listening socket and graceful shutdown. Only this module and connection know about uvicorn."""

import contextlib
import logging
import resource
import socket

import uvicorn
from starlette.types import ASGIApp

from swarmeval.errors import ConfigError
from swarmeval.serving.connection import BoundedConnection, Deadlines

BACKLOG = 2048  # connections that may wait to be accepted
FILES_BESIDE = 256  # open files of the process other than connections
DEADLINES = Deadlines()
END_S = 30  # limit for requests in progress when the server shuts down

log = logging.getLogger("swarmeval")


def listener(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 means any free port. Raises ConfigError if that fails."""
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
    """The base URL of the API."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def allow_files(connections: int) -> None:
    """Raise this process's limit of open files to the number its connections need. Raises ConfigError if forbidden."""
    needed = connections + BACKLOG + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if hard != unlimited and hard < needed:
        raise ConfigError(
            f"serve.connections is {connections}, which needs {needed} open files; the limit is {hard} "
            "(ulimit -Hn); lower serve.connections or raise the limit"
        )
    if soft != unlimited and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class HttpServer:
    """Serves the app on a listening socket until end() is called."""

    def __init__(self, app: ASGIApp, connections: int, deadlines: Deadlines = DEADLINES) -> None:
        """`connections` limits open connections, `deadlines` the arrival of requests."""

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
                proxy_headers=False,  # any local client could state another one's address
                timeout_graceful_shutdown=END_S,
            )
        )
        # uvicorn's own handlers would re-raise the signal before the fleet has stopped.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    async def serve(self, sock: socket.socket) -> None:
        """Serve until end() is called and the requests in progress are answered."""
        await self._server.serve([sock])

    def end(self) -> None:
        """Accept no new calls. A second call aborts those in progress."""
        if self._server.should_exit:
            self._server.force_exit = True
            return
        log.warning("stopping: requests in progress have up to %d s to finish; interrupt again to stop at once", END_S)
        self._server.should_exit = True
