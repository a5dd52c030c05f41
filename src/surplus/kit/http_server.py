"""Where a server listens, how many it can serve, and who answers there."""

import logging
import resource
import socket
from typing import Final

from surplus.kit.errors import Unavailable
from surplus.kit.http1_server import Answering, Exchange, Handler

log: Final = logging.getLogger(__name__)

FILES_KEPT: Final = 256
"""Open files that are not connections: the database, the journal, pipes to engines."""
FILES_PER_CONNECTION: Final = 2  # the caller's, and the one to an engine
FILES_WANTED: Final = 2**16


class PortTaken(Unavailable):
    """Something else listens where this server was told to."""

    code = "port_taken"
    retryable = False


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


def split(prefix: str, inside: Handler, outside: Handler) -> Handler:
    """Requests for `prefix` and what is below it go to `inside`, all others to `outside`."""
    below = f"{prefix}/"

    def handle(exchange: Exchange) -> Answering:
        path = exchange.head.path
        return inside(exchange) if path.startswith(below) or path == prefix else outside(exchange)

    return handle
