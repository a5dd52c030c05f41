"""Callers as the gateway meets them: an exchange with a server, with the moments in a test's hands."""

import asyncio
import json
from typing import Any

from surplus.gateway.client import Client
from surplus.kit.http1_server import Exchange, Head
from tests.unit.gateway.streams import read_events


class Wire:
    """One connection with one request. `leave` is the caller's going."""

    full = False
    date = b""
    seat = None

    def __init__(self, body: bytes = b"", *, headers: dict[str, str] | None = None) -> None:
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        head = Head("POST", "/v1", b"/v1", b"", pairs, "1.0", keep_alive=False)
        self.exchange = Exchange(self, head)
        self.exchange.feed(body)
        self.exchange.complete()
        self.raw = b""
        self.ended = False
        self._changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        assert not self.ended, "nothing follows the end of an answer"
        self.raw += data
        self._changed.set()

    def wanted(self) -> None:
        raise AssertionError("the body is here")

    def answered(self) -> None:
        self.ended = True
        self._changed.set()

    @property
    def _head(self) -> list[str]:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")

    @property
    def status(self) -> int | None:
        return int(self._head[0].split()[1]) if self.raw else None

    @property
    def headers(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self._head[1:])

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    async def delivered(self, events: int) -> None:
        """Wait until that many events have been sent."""
        async with asyncio.timeout(10):
            while len(read_events(self.body)) < events:
                self._changed.clear()
                await self._changed.wait()

    async def leave(self) -> None:
        """Go away."""
        self.exchange.lost()

    def client(self) -> Client:
        """The server's view of this caller; make it in the task that serves it."""
        return Client(self.exchange)

    @property
    def error(self) -> dict[str, Any]:
        """The error of the answer, or of the last event of a stream."""
        last = self.body.rstrip(b"\n").rpartition(b"data: ")[2]
        return json.loads(last)["error"]


def with_key(token: str) -> Wire:
    return Wire(headers={"authorization": f"Bearer {token}"})
