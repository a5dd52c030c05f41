"""Where a server listens, and who answers there."""

import socket

from surplus.kit.errors import Unavailable
from surplus.kit.http1_server import Answering, Exchange, Handler


class PortTaken(Unavailable):
    """Something else listens where this server was told to."""

    code = "port_taken"
    retryable = False


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
