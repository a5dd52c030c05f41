"""An HTTP server that somebody else starts and stops: a socket, uvicorn without its signals, connections that are held
to the rules of the edge, and one application for a part of the paths.
"""

import asyncio
import logging
import math
import resource
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from surplus.kit.edge import Edge
from surplus.kit.edge.protocol import EdgeProtocol
from surplus.kit.errors import Unavailable

log: Final = logging.getLogger(__name__)

CHECK_S_MAX: Final = 1.0
CHECKS_PER_TIMEOUT: Final = 8
FILES_KEPT: Final = 256
"""Open files that are not connections: the database, the journal, pipes to engines."""
FILES_PER_CONNECTION: Final = 2  # the caller's, and the one to an engine
FILES_WANTED: Final = 2**16


class PortTaken(Unavailable):
    """Something else listens where this server was told to."""

    code = "port_taken"
    retryable = False


class HttpServer(uvicorn.Server):
    """uvicorn, except that signals are ours: the books are closed after the last answer, not in the middle."""

    def __init__(self, app: ASGIApp, edge: Edge, *, drain_s: float) -> None:
        limits = edge.limits
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, math.ceil(limits.idle_s)),
            timeout_graceful_shutdown=max(1, round(drain_s)),
        )
        super().__init__(config)
        self._edge = edge
        shortest = min(limits.head_s, limits.body_s, limits.idle_s, limits.unread_s)
        self._check_s = min(CHECK_S_MAX, shortest / CHECKS_PER_TIMEOUT)
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`; connections are looked at to the last."""
        self._check()
        try:
            await super().serve(sockets)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections that are held to the rules of the edge, from their handshake on."""
        await self.lifespan.startup()
        tls: dict[str, Any] = {}
        if self._edge.tls is not None:
            tls = {"ssl": self._edge.tls.context, "ssl_handshake_timeout": self._edge.limits.head_s}
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(self._connection, sock=sock, backlog=self.config.backlog, **tls)
            for sock in sockets or ()
        ]
        self.started = True

    def _connection(self) -> EdgeProtocol:
        return EdgeProtocol(self.config, self.server_state, self.lifespan.state, edge=self._edge)

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._check_s, self._check)
        now = loop.time()
        for connection in tuple(self.server_state.connections):
            cast("EdgeProtocol", connection).check(now)
        if self._edge.tls is not None:
            self._edge.tls.reload()


def connections_at_most(wanted: int) -> int:
    """How many connections can be served of `wanted`, after as many open files as may be had have been asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = max(1, min(wanted, (soft - FILES_KEPT) // FILES_PER_CONNECTION))
    if most < wanted:
        fields = {"wanted": wanted, "connections": most, "open_files": soft}
        log.warning("there will be fewer connections: the limit on open files is low", extra={"fields": fields})
    return most


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        message = f"cannot listen on {host}:{port}: {error.strerror}; stop what listens there, or choose another --port"
        raise PortTaken(message) from error
    return sock


def split(prefix: str, inside: ASGIApp, outside: ASGIApp) -> ASGIApp:
    """Requests for `prefix` and what is below it go to `inside`, all others to `outside`."""
    below = f"{prefix}/"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith(below):
            await inside(scope, receive, send)
        else:
            await outside(scope, receive, send)

    return app
