"""What the connections of one server share, and how a refusal looks on the wire."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from surplus.kit.edge.limits import Limits
from surplus.kit.edge.proxies import Proxies
from surplus.kit.edge.seats import Seats
from surplus.kit.edge.tls import Tls
from surplus.kit.errors import SurplusError


class Told(NamedTuple):
    """The headers and the body in which a surface tells of an error."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`tell` words an error for the surface at a path (empty where it is not known yet); `refused` counts it."""

    limits: Limits
    seats: Seats
    proxies: Proxies
    tls: Tls | None
    tell: Callable[[str, SurplusError], Told]
    refused: Callable[[SurplusError], None]


def last_answer(status: int, told: Told) -> bytes:
    """A whole HTTP/1.1 answer that ends its connection."""
    length = str(len(told.body)).encode()
    own = [(b"content-length", length), (b"connection", b"close")]
    kept = [(name, value) for name, value in told.headers if name.lower() != b"content-length"]
    lines = b"".join(b"%b: %b\r\n" % header for header in [*kept, *own])
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), lines, told.body)
