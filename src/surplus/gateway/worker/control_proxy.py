"""Everything that is not the model API: a worker passes it on to the control process, and its answer back."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from surplus.kit.edge import Told
from surplus.kit.errors import MethodNotAllowed, SurplusError, TooLarge, Unavailable
from surplus.serving.errors import UpstreamCut, UpstreamTimedOut, UpstreamUnreachable
from surplus.serving.upstream import Answer, Upstream

BASE_URL: Final = "http://control"
BODY_MAX_BYTES: Final = 256 * 1024
CONNECT_S: Final = 5.0
ANSWER_S: Final = 3600.0
"""Reports read everything; whoever asked for one can leave."""
CLIENT: Final = "x-surplus-client"
"""Who really asks and for what: host, port, scheme and Host field, as the worker sees them."""

_HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "expect",
        "host",
        CLIENT,
    )
)
_OURS: Final = _HOP_BY_HOP - {"content-length"} | {"date", "server"}
_client: Final = msgspec.json.Decoder(tuple[str | None, int, str, str])


class ControlProxy:
    """Passes requests on over `upstream`, which leads to the control process whatever the address.

    `tell` words an error for a path.
    """

    def __init__(self, upstream: Upstream, tell: Callable[[str, SurplusError], Told]) -> None:
        self._upstream = upstream
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._ask(scope, await _body(receive))
        except SurplusError as error:
            await self._refuse(scope, error, send)
            return
        leaving = asyncio.create_task(_until_gone(receive, answer))
        try:
            await _relay(answer, send)
        except (UpstreamCut, UpstreamTimedOut):
            if not leaving.done():  # a part of the answer has left: what follows is the end of the connection
                raise
        finally:
            answer.abort()
            leaving.cancel()

    async def _ask(self, scope: Scope, body: bytes) -> Answer:
        if scope["method"] in {"HEAD", "CONNECT"}:
            raise MethodNotAllowed(f"this server does not take {scope['method']}")
        query: bytes = scope["query_string"]
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        try:
            return await self._upstream.send(
                BASE_URL,
                path + (f"?{query.decode('latin-1')}" if query else ""),
                headers=_headers(scope),
                body=body,
                connect_timeout_s=CONNECT_S,
                first_byte_timeout_s=ANSWER_S,
                reuse=True,
                method=scope["method"],
            )
        except (UpstreamUnreachable, UpstreamTimedOut) as error:
            message = "the control process of this server is away; it is being started again: try again in a moment"
            raise Unavailable(message, retry_after_s=1) from error

    async def _refuse(self, scope: Scope, error: SurplusError, send: Send) -> None:
        """In the control plane's shape."""
        told = self._tell(scope["path"], error)
        await send({"type": "http.response.start", "status": error.status, "headers": told.headers})
        await send({"type": "http.response.body", "body": told.body})


def _headers(scope: Scope) -> dict[str, str]:
    fields: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name not in _HOP_BY_HOP:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    host, port = scope.get("client") or (None, 0)
    asked = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    fields[CLIENT] = msgspec.json.encode((host, port, scope.get("scheme", "http"), asked)).decode()
    return fields


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MAX_BYTES:
            raise TooLarge(f"the body is larger than the {BODY_MAX_BYTES} bytes that the control plane takes")
        if not message.get("more_body"):
            return b"".join(parts)


async def _until_gone(receive: Receive, answer: Answer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    answer.abort()


async def _relay(answer: Answer, send: Send) -> None:
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items() if name not in _OURS
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    while data := await answer.chunk(ANSWER_S):
        await send({"type": "http.response.body", "body": data, "more_body": True})
    answer.release()
    await send({"type": "http.response.body", "body": b""})


def from_workers(app: ASGIApp) -> ASGIApp:
    """The control process's side: requests are those of the callers that workers name; only they reach its socket."""

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            wanted = CLIENT.encode()
            given = next((value for name, value in scope["headers"] if name == wanted), None)
            host, port, scheme, asked = (None, 0, "http", "") if given is None else _client.decode(given)
            headers = [field for field in scope["headers"] if field[0] not in {wanted, b"host"}]
            headers.append((b"host", asked.encode("latin-1")))
            client = None if host is None else (host, port)
            scope = {**scope, "headers": headers, "client": client, "scheme": scheme}
        await app(scope, receive, send)

    return named
