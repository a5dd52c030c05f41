"""The edge of the control plane: every answer has a request id, and no exception goes unanswered."""

import logging
import traceback
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surplus.api import errors
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids

log: Final = logging.getLogger(__name__)

BODY_MAX_BYTES: Final = 256 * 1024
"""Far above any body of the control plane; bodies are read before the caller is known."""

_PRIVATE: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What an answer that is not a page says to a browser that was made to open it; pages say it for themselves."""


class Edge:
    """Gives each request an id, and its answer the headers that all answers have; reads no body beyond the limit."""

    def __init__(self, app: ASGIApp, ids: Ids) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.request_id = self._ids.new("req")
        name = request.state.request_id.encode()
        extra = [(b"x-request-id", name), (b"request-id", name), (b"x-content-type-options", b"nosniff")]
        if scope["path"].startswith("/api/") and not scope["path"].startswith("/api/docs/"):
            extra.append((b"cache-control", b"no-store"))
        started = False

        async def send_more(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = list(message.get("headers", ()))
                names = {name for name, _ in own}
                message["headers"] = [*own, *extra, *(each for each in _PRIVATE if each[0] not in names)]
            await send(message)

        try:
            await self._app(scope, _limited(receive), send_more)
        except Exception as error:  # noqa: BLE001  the last resort: whatever it is, the caller gets an answer
            # Not the words of the exception: those of a database or a parser repeat what was sent.
            where = traceback.format_tb(error.__traceback__)
            fields = {"request": request.state.request_id, "kind": type(error).__name__, "where": where}
            log.error("a control-plane request failed unexpectedly", extra={"fields": fields})  # noqa: TRY400  the same
            if not started:
                await errors.answer(SurplusError(errors.UNEXPECTED))(scope, receive, send_more)


def _limited(receive: Receive) -> Receive:
    left = BODY_MAX_BYTES

    async def receive_limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return receive_limited
