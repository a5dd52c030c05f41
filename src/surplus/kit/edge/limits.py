"""What one caller may send, how slowly, and how many may be connected: the numbers, and the rules of the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from surplus.kit.errors import HeadTooLarge, UrlTooLong

FRAMING_PER_BYTE: Final = 8
"""A body in chunks of one byte has six bytes a chunk, and is odd but honest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds.

    `head_s`: from the first byte of a head (or from the connection) to its end. `body_s`: between two parts of a body.
    `body_rate`: bytes per second of a body once `body_s` is over. `idle_s`: between two requests. `unread_s`: how long
    an answer may find no room because its reader does not read. `connections_per_address` counts those that have shown
    no key yet.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    url_bytes: int = 8 * 1024
    body_bytes: int = 8 * 2**20
    head_s: float = 30.0
    body_s: float = 30.0
    body_rate: int = 1024
    idle_s: float = 75.0
    unread_s: float = 60.0
    connections: int = 8192
    connections_per_key: int = 4096
    connections_per_address: int = 4096


def check_head(limits: Limits, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """A head that is whole. A header counts as its line does: name, colon, space, value and the end of the line.

    Raises UrlTooLong or HeadTooLarge.
    """
    check_url(limits, url)
    if len(headers) > limits.headers:
        message = f"there are more than the {limits.headers} headers that this server reads; send fewer"
        raise HeadTooLarge(message)
    check_head_size(limits, len(url) + sum([len(name) + len(value) + 4 for name, value in headers]))


def check_url(limits: Limits, url: bytes) -> None:
    """The address, or what has come of it. Raises UrlTooLong."""
    if len(url) > limits.url_bytes:
        message = f"the address is longer than the {limits.url_bytes} bytes that this server reads; shorten it"
        raise UrlTooLong(message)


def check_head_size(limits: Limits, size: int) -> None:
    """A head, or what has come of one. Raises HeadTooLarge."""
    if size > limits.head_bytes:
        message = f"the headers are longer than the {limits.head_bytes} bytes that this server reads; send less in them"
        raise HeadTooLarge(message)


def check_framing(limits: Limits, size: int, body: int) -> None:
    """So many bytes came after a head, of which only `body` were the body: the rest is the sizes of chunks, what is
    written beside them, and trailers. Raises HeadTooLarge.
    """
    if size - body > limits.head_bytes + FRAMING_PER_BYTE * body:
        message = "what surrounds the body is much larger than the body; send larger chunks without trailers"
        raise HeadTooLarge(message)
