"""The edge of the control plane: every answer has a request id, and no exception goes unanswered."""

import logging
import traceback
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surplus.api import errors
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids

log: Final = logging.getLogger(__name__)


class Edge:
    """Gives each request an id, and its answer the headers that all answers have."""

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
        if scope["path"].startswith("/api"):
            extra.append((b"cache-control", b"no-store"))
        started = False

        async def send_more(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        try:
            await self._app(scope, receive, send_more)
        except Exception as error:  # noqa: BLE001  the last resort: whatever it is, the caller gets an answer
            # Not the words of the exception: those of a database or a parser repeat what was sent.
            where = traceback.format_tb(error.__traceback__)
            fields = {"request": request.state.request_id, "kind": type(error).__name__, "where": where}
            log.error("a control-plane request failed unexpectedly", extra={"fields": fields})  # noqa: TRY400  the same
            if not started:
                await errors.answer(SurplusError(errors.UNEXPECTED))(scope, receive, send_more)
