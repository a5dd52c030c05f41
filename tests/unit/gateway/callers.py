"""Callers as the gateway meets them: a connection of ASGI, with the messages and the moments in a test's hands."""

import asyncio
import json
from typing import Any

from surplus.gateway.client import Client
from tests.contract.engine_server import until
from tests.unit.gateway.streams import read_events


class Wire:
    """One connection. `gone` is set when the caller leaves."""

    def __init__(self, body: bytes = b"", *, headers: dict[str, str] | None = None) -> None:
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1", "headers": pairs}
        self.gone = asyncio.Event()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self._unread = [{"type": "http.request", "body": body, "more_body": False}]
        self._changed = asyncio.Condition()
        self._client: Client | None = None

    async def receive(self) -> dict[str, Any]:
        if self._unread:
            return self._unread.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert self.status is None, "an answer has one head"
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            assert not self.ended, "nothing follows the end of an answer"
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        async with self._changed:
            self._changed.notify_all()

    async def delivered(self, events: int) -> None:
        """Wait until that many events have been sent."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(read_events(self.body)) >= events)

    async def leave(self) -> None:
        """Go away, and wait until that has been noticed."""
        self.gone.set()
        assert self._client is not None
        await until(lambda: self._client.gone)

    def client(self) -> Client:
        """The server's view of this caller; make it in the task that serves it."""
        self._client = Client(self.scope, self.receive, self.send)
        return self._client

    @property
    def error(self) -> dict[str, Any]:
        """The error of the answer, or of the last event of a stream."""
        last = self.body.rstrip(b"\n").rpartition(b"data: ")[2]
        return json.loads(last)["error"]


def with_key(token: str) -> Wire:
    return Wire(headers={"authorization": f"Bearer {token}"})
