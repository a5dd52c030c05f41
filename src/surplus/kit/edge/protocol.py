"""One connection of uvicorn, held to the rules of the edge: the only file that knows which server it is.

uvicorn parses and runs the requests. This looks at what arrives before that, answers what is refused, and is looked at
from time to time (`check`) rather than keeping timers: a request costs none, and a thousand idle connections share one.
"""

import asyncio
import logging
import sys
from typing import Any, Final, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from surplus.kit.edge.edge import Edge, last_answer
from surplus.kit.edge.errors import Unreadable
from surplus.kit.edge.limits import check_framing, check_head, check_head_size, check_url
from surplus.kit.edge.pace import Pace, Phase, Silence
from surplus.kit.edge.seats import EXTENSION, Seat
from surplus.kit.errors import SurplusError

log: Final = logging.getLogger(__name__)

LINGER_S: Final = 2.0
"""How long a caller has to read its refusal: closing at once would take it away from one who is still sending."""
LINGER_BYTES: Final = 2**20
TURNED_AWAY_MAX: Final = 256
"""Connections without a seat that are told so at one time; more are closed without a word."""


class EdgeProtocol(HttpToolsProtocol):
    """A connection that is limited in size, in time and in number."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, edge: Edge) -> None:
        super().__init__(config, server_state, app_state)
        self._edge = edge
        self._limits = edge.limits
        self.url = b""
        now = self.loop.time()
        self._pace = Pace(now, now)
        self._begun = 0  # requests that began in the bytes that are being parsed
        self._unparsed = 0  # bytes of a head without an end
        self._after_head = 0  # bytes since the last head
        self._discarded = 0
        self._seat: Seat | None = None
        self._running: RequestResponseCycle | None = None
        self._refused: SurplusError | None = None
        self._refused_at: float | None = None
        self._blocked_at: float | None = None
        self._closing_at: float | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a seat, or hear that there is none."""
        super().connection_made(transport)
        peer = self.client[0] if self.client else ""
        try:
            self._seat = self._edge.seats.sit(peer, proxy=self._edge.proxies.trust(peer))
        except SurplusError as error:
            self._edge.seats.turned_away += 1
            if self._edge.seats.turned_away > TURNED_AWAY_MAX:
                transport.abort()
            else:
                self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the seat back; whatever still runs hears that its caller has gone."""
        self.pipeline.clear()
        if self._running is not None:
            _disconnect(self._running)  # uvicorn tells the newest request alone, and others may be before it
        super().connection_lost(exc)
        if self._seat is not None:
            self._seat.leave()
            self._seat = None
        else:
            self._edge.seats.turned_away -= 1

    def pause_writing(self) -> None:
        """The answer finds no room."""
        self._blocked_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The caller reads on."""
        self._blocked_at = None
        super().resume_writing()

    # What arrives

    def data_received(self, data: bytes) -> None:
        """Bytes of requests, or of what nobody will read any more."""
        if self._refused is not None:
            self._discard(len(data))
            return
        before = self._pace.phase
        self._begun = 0
        super().data_received(data)
        if self._refused is not None:
            return
        try:
            if self._pace.phase is Phase.HEAD:
                self._head_so_far(len(data), before)
            elif self._pace.phase is Phase.BODY:
                self._body_so_far(len(data), before)
        except SurplusError as error:
            self._refuse(error)

    def _head_so_far(self, size: int, before: Phase) -> None:
        """What has no end yet is in no callback either. Bytes that hold other requests too are not counted."""
        if self._begun == 0:
            self._unparsed += size
        else:
            self._unparsed = size if self._begun == 1 and before in {Phase.NEW, Phase.NOTHING} else 0
        check_url(self._limits, self.url)
        check_head_size(self._limits, self._unparsed)

    def _body_so_far(self, size: int, before: Phase) -> None:
        if self._begun == 0 and before is Phase.BODY:
            self._after_head += size
            check_framing(self._limits, self._after_head, self._pace.received)
        if self.cycle.response_complete and self._pace.received > self._limits.body_bytes:
            self.transport.close()  # it was answered long ago, most likely because its body is too large

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begun += 1
        self._pace.head(self.loop.time())
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after a chunked body it would be a trailer, which nobody may take for a header."""
        if self._pace.phase is Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request begin, if its head may be so. What is raised here comes back in `send_400_response`."""
        check_head(self._limits, self.url, self.headers)
        seat = self._seat
        assert seat is not None
        if seat.proxy:
            assert self.client is not None
            forwarded = self._edge.proxies.read(self.client[0], self.headers)
            self.scope["client"] = (forwarded.client, 0)
            self.scope["scheme"] = forwarded.scheme or self.scope["scheme"]
            seat.answered()
            seat.come_from(forwarded.client)
        self.scope["extensions"] = {EXTENSION: {"seat": seat}}
        super().on_headers_complete()
        self._pace.body(self.loop.time())
        self._unparsed = self._after_head = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._pace.more(len(body), self.loop.time())
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived."""
        self._pace.whole(self.loop.time())
        super().on_message_complete()

    # What goes out

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer has gone out; another request may be waiting."""
        if self._pace.phase is Phase.NOTHING:
            self._pace.whole(self.loop.time())
        if self._seat is not None:
            self._seat.answered()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words are for nobody
        """What cannot be parsed, or was refused while it was."""
        error = sys.exception()
        why = error.__context__ if error is not None else None
        self._refuse(why if isinstance(why, SurplusError) else Unreadable(_UNREADABLE))

    def _refuse(self, error: SurplusError) -> None:
        """Read no more on this connection, and say why, unless an answer is going out on it, or has gone."""
        self._refused = error
        self._edge.refused(error)
        self._note("a connection was refused at the edge", code=error.code)
        running = self._running
        if self._pace.phase is Phase.BODY and self.cycle.response_complete:
            self.transport.close()  # what is wrong is wrong with a request that has been answered
            return
        if running is not None and not running.response_complete:
            if self._pace.phase is not Phase.BODY or running is not self.cycle or running.response_started:
                self.pipeline.clear()
                running.keep_alive = False  # its answer is the last on this connection
                return
            _disconnect(running)
        path = self.url.decode("latin-1")
        self.transport.write(last_answer(error.status, self._edge.tell(path, error)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._refused_at = self.loop.time()

    def _note(self, what: str, **fields: str) -> None:
        known = cast("dict[str, Any] | None", self.scope)  # none until a request begins
        client = self.client if known is None else known["client"]
        log.info(what, extra={"fields": {"client": client and client[0], **fields}})

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self.transport.abort()

    # The clock

    def check(self, now: float) -> None:
        """Close this connection if its caller has been too slow at whatever is due."""
        if self.transport.is_closing():
            self._closing_at = self._closing_at or now
            if now - self._closing_at > self._limits.unread_s:
                self.transport.abort()  # it waits for what is written to be read
        elif self._blocked_at is not None and now - self._blocked_at > self._limits.unread_s:
            self._note("a caller does not read its answer")
            self.transport.abort()
        elif self._refused_at is not None:
            if now - self._refused_at > LINGER_S:
                self.transport.close()
        elif self._refused is None:
            self._check_arrival(now)

    def _check_arrival(self, now: float) -> None:
        if self.flow.read_paused:
            self._pace.pardon(now)
            return
        answering = self._running is not None and not self._running.response_complete
        verdict = self._pace.verdict(self._limits, now, answering=answering)
        if verdict is Silence.CLOSE:
            self.transport.close()
        elif isinstance(verdict, SurplusError):
            self._refuse(verdict)


_UNREADABLE: Final = "this is no HTTP/1.1 request that can be read; check what sends it, and any proxy in between"


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Have a request that runs hear that its caller has gone."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
