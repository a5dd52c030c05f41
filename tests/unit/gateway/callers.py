"""Callers as the gateway meets them: a connection of ASGI, with the messages and the moments in a test's hands."""

import asyncio
import json
from typing import Any

from surplus.gateway.client import Client


class Wire:
    """One connection. `gone` is set when the caller leaves; `held`, where given, keeps back every send until set."""

    def __init__(self, body: bytes = b"", *, headers: dict[str, str] | None = None) -> None:
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1", "headers": pairs}
        self.gone = asyncio.Event()
        self.held: asyncio.Event | None = None
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self._unread = [{"type": "http.request", "body": body, "more_body": False}]
        self._changed = asyncio.Condition()

    async def receive(self) -> dict[str, Any]:
        if self._unread:
            return self._unread.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.held is not None:
            await self.held.wait()
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

    async def has(self, text: bytes) -> None:
        """Wait until this has been sent."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: text in self.body)

    def client(self) -> Client:
        return Client(self.scope, self.receive, self.send)

    @property
    def error(self) -> dict[str, Any]:
        """The error of the answer, or of the last event of a stream."""
        last = self.body.rstrip(b"\n").rpartition(b"data: ")[2]
        return json.loads(last)["error"]


def with_key(token: str) -> Wire:
    return Wire(headers={"authorization": f"Bearer {token}"})
