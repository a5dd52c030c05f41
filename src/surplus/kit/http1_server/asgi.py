"""An ASGI application behind this server (https://asgi.readthedocs.io, version 3, HTTP without extensions)."""

from typing import Any

from starlette.types import ASGIApp, Message

from surplus.kit.edge.seats import EXTENSION
from surplus.kit.http1_server.exchange import Exchange, Gone
from surplus.kit.http1_server.head import Headers


class AsgiHandler:
    """A handler that asks an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, exchange: Exchange) -> None:
        conversation = _Conversation(exchange)
        await self._app(_scope(exchange), conversation.receive, conversation.send)


class _Conversation:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._read = False
        self._status = 0
        self._headers: Headers = []

    async def receive(self) -> Message:
        exchange = self._exchange
        if not self._read:
            try:
                data = await exchange.receive()
            except Gone:
                return {"type": "http.disconnect"}
            self._read = exchange.received
            return {"type": "http.request", "body": data, "more_body": not self._read}
        await exchange.left()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        exchange = self._exchange
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            return
        data, more = bytes(message.get("body", b"")), bool(message.get("more_body"))
        if exchange.started:
            exchange.send(data, more=more)
        else:
            exchange.start(self._status, self._headers, data, more=more)
        await exchange.drained()


def _scope(exchange: Exchange) -> dict[str, Any]:
    head, ends = exchange.head, exchange.ends
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": head.version,
        "server": ends.here,
        "client": ends.caller,
        "scheme": ends.scheme,
        "method": head.method,
        "root_path": "",
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query,
        "headers": head.headers,
        "state": {},
        "extensions": {EXTENSION: {"seat": exchange.seat}} if exchange.seat is not None else {},
    }
