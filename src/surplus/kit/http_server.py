"""An HTTP server that somebody else starts and stops: a socket, uvicorn without its signals, and one application for a
part of the paths.
"""

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from surplus.kit.errors import Unavailable


class PortTaken(Unavailable):
    """Something else listens where this server was told to."""

    code = "port_taken"
    retryable = False


class HttpServer(uvicorn.Server):
    """uvicorn, except that signals are ours: the books are closed after the last answer, not in the middle."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


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
