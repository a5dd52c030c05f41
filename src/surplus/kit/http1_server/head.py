"""Heads as bytes: where a request leads, and the head of an answer."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import httptools

from surplus.kit.edge.errors import Unreadable

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""

STATUS_LINES: Final = {status: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
BODILESS: Final = frozenset({204, 304})
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Head:
    """The head of a request. `path` is percent-decoded, `raw_path` is as it came; header names are in lower case."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    version: str
    keep_alive: bool


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """The decoded path, the path as it came, and the query. Raises Unreadable."""
    if not target.startswith(b"/") or b"#" in target:
        target = _origin_form(target)
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("ascii", "replace")
    return (unquote(path) if "%" in path else path), raw_path, query


def _origin_form(target: bytes) -> bytes:
    if target == b"*":
        return target
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError as error:
        raise Unreadable("the target of a request is a path, or the whole URL") from error
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def answer_head(status: int, headers: Headers) -> bytes:
    """The status line and the fields, without the empty line at the end. Raises ValueError where a field would end
    early: bytes that come from elsewhere must not become another field.
    """
    line = STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status  # pyright: ignore[reportArgumentType]  an int
    head = line + b"".join([b"%b: %b\r\n" % field for field in headers])
    if head.count(b"\n") != len(headers) + 1 or head.count(b"\r") != len(headers) + 1:
        raise ValueError("a field of an answer holds an end of line")
    return head
