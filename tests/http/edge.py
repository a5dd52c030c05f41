"""What the tests of the edge share: requests as bytes, and refusals as callers see them."""

import json
from typing import Any

from tests.http.harness import Live, eventually
from tests.upstream.raw_client import Heard


def head(path: str, *lines: str, method: str = "GET") -> bytes:
    """The head of a request, with the header lines as they are."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: shop", *lines, "", ""]).encode("latin-1")


def head_of_size(size: int, path: str = "/healthz", *lines: str) -> bytes:
    """A head that counts so many bytes: its address and its header lines."""
    made = head(path, *lines, "x-fill: ")
    first = len(b"GET  HTTP/1.1\r\n")
    return head(path, *lines, "x-fill: " + "f" * (size - (len(made) - first - 2)))


async def refused(caller: Heard, status: int, code: str, *, api: bool = False) -> dict[str, Any]:
    """A caller hears a whole refusal in the shape of its surface, and its connection ends."""
    await caller.closed()
    assert caller.status == status, caller.raw
    assert caller.complete, caller.raw
    assert caller.header("connection") == "close"
    assert caller.header("content-type") == "application/json"
    assert caller.header("x-request-id")
    error = json.loads(caller.body)["error"]
    assert error["code"] == code
    assert error.keys() == {"message", "code", "param", "detail" if api else "type"}
    return error


async def let_go(live: Live) -> None:
    """Every connection has ended, and nothing counts it any more."""
    seats = live.server.edge.seats
    await eventually(lambda: not seats.open and not seats.turned_away, "the connections to end")
    assert (dict(seats.keys), dict(seats.addresses)) == ({}, {})
