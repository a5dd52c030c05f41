"""One caller's connection: requests are answered one after the other, and the rules of the edge hold."""

import asyncio
import logging
from collections import deque
from functools import partial
from typing import Any, Final, cast

from surplus.kit.edge.edge import last_answer
from surplus.kit.edge.pace import Phase, Silence
from surplus.kit.edge.proxies import Forwarded
from surplus.kit.edge.seats import Seat
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server.exchange import Ends, Exchange
from surplus.kit.http1_server.head import CONTINUE, Head
from surplus.kit.http1_server.intake import Intake
from surplus.kit.http1_server.state import Handler, State

log: Final = logging.getLogger(__name__)

HELD_BYTES: Final = 256 * 1024
"""Of a body that nobody has taken, before reading stops."""
WAITING_MAX: Final = 8
"""Requests that may wait on one connection, before reading stops. While we read we notice that a caller leaves."""
LINGER_S: Final = 2.0
"""How long a caller has to read its refusal: closing at once would take it away from one who is still sending."""
LINGER_BYTES: Final = 2**20
TURNED_AWAY_MAX: Final = 256
"""Connections without a seat that are told so at one time; more are closed without a word."""
_FAULT: Final = b"a fault of this server; its log says more\n"
_STOPPING: Final = b"this server is shutting down; try again in a moment\n"


class Connection(asyncio.Protocol):
    """A connection that is limited in size, in time and in number.

    It keeps no timers: the server looks at all connections from time to time (`check`), so a request costs none, and a
    thousand idle connections share one.
    """

    def __init__(self, state: State, handle: Handler) -> None:
        self.full = False
        self.seat: Seat | None = None
        self._state = state
        self._edge = state.edge
        self._limits = state.edge.limits
        self._handle = handle
        self._loop = state.loop
        self._transport: asyncio.Transport
        self._intake = Intake(self, self._limits, state.loop)
        self._current: Exchange | None = None  # which is being answered
        self._waiting: deque[Exchange] = deque()
        self._paused = False
        self._refused = False  # nothing more is read
        self._refused_at: float | None = None
        self._discarded = 0
        self._blocked_at: float | None = None
        self._closing_at: float | None = None

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are such without being derived from it
        self._state.connections.add(self)
        seats, peer = self._edge.seats, self._peer
        try:
            self.seat = seats.sit(peer, proxy=self._edge.proxies.trust(peer))
        except SurplusError as error:
            seats.turned_away += 1
            if seats.turned_away > TURNED_AWAY_MAX:
                self.abort()
            else:
                self._refuse(error)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.abort()
            return
        try:
            self._intake.feed(data)
        except SurplusError as error:
            self._refuse(error)
            return
        taking = self._intake.taking
        if taking is None:
            return
        if taking.ended:
            if self._intake.pace.received > self._limits.body_bytes:
                self._linger()  # it was answered long ago, most likely because its body is too large
        elif taking.held > HELD_BYTES:
            self._pause()

    def eof_received(self) -> None:
        """Who has stopped sending has left: nothing tells it from a caller that is gone, and its answer is work."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio calls it with one
        self._intake.stop()
        self._waiting.clear()
        self._state.connections.discard(self)
        for exchange in (self._current, self._intake.taking):
            if exchange is not None:
                exchange.lost()
        if self.seat is not None:
            self.seat.leave()
        else:
            self._edge.seats.turned_away -= 1
        self._state.left()

    def pause_writing(self) -> None:
        self.full = True
        self._blocked_at = self._loop.time()

    def resume_writing(self) -> None:
        self.full = False
        self._blocked_at = None
        if self._current is not None:
            self._current.resume()

    # ---- called by what reads

    def begin(self, head: Head) -> Exchange:
        forwarded: Forwarded | None = None
        seat = self.seat
        assert seat is not None
        if seat.proxy:
            forwarded = self._edge.proxies.read(self._peer, head.headers)
            seat.answered()
            seat.come_from(forwarded.client)
        exchange = Exchange(self, head, forwarded)
        if self._current is None:
            self._answer(exchange)
        else:
            self._waiting.append(exchange)
            if len(self._waiting) >= WAITING_MAX:
                self._pause()
        return exchange

    def complete(self, exchange: Exchange) -> None:
        if exchange.ended:  # it was answered before it had come
            self._next(exchange)

    # ---- called by the exchange

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def wanted(self) -> None:
        if self._intake.expects:
            self._intake.expects = False
            self._transport.write(CONTINUE)
        self._resume()

    def answered(self) -> None:
        exchange = self._current
        assert exchange is not None
        if exchange.received:
            self._next(exchange)
        elif self._intake.expects or self._intake.stopped:  # the rest will not come
            self._close()
        else:
            self._resume()

    @property
    def date(self) -> bytes:
        return self._state.date

    @property
    def ends(self) -> Ends:
        ask = self._transport.get_extra_info
        scheme = "https" if ask("sslcontext") is not None else "http"
        return Ends(_address(ask("peername")), _address(ask("sockname")), scheme)

    # ---- called by the server

    @property
    def busy(self) -> bool:
        """A request has come whole and is being answered."""
        return self._current is not None and self._current.received

    def drain(self) -> None:
        """End it after the answer that is under way."""
        if self._current is None:
            self._close()
        else:
            self._current.keep_alive = False
            self._waiting.clear()

    def check(self, now: float) -> None:
        """Close it if its caller has been too slow at whatever is due; `now` is the loop's time."""
        if self._transport.is_closing():
            self._closing_at = self._closing_at or now
            if now - self._closing_at > self._limits.unread_s:
                self.abort()  # it waits for what is written to be read
        elif self._blocked_at is not None and now - self._blocked_at > self._limits.unread_s:
            self._note("a caller does not read its answer")
            self.abort()
        elif self._refused_at is not None:
            if now - self._refused_at > LINGER_S:
                self._close()
        elif self._paused:
            self._intake.pace.pardon(now)
        elif not self._refused:
            self._check_arrival(now)

    def abort(self) -> None:
        """End it at once."""
        self._intake.stop()
        self._transport.abort()

    # ---- inside

    def _answer(self, exchange: Exchange) -> None:
        self._current = exchange
        if self._state.draining:
            exchange.keep_alive = False
        task = self._loop.create_task(self._handle(exchange))
        self._state.tasks.add(task)
        task.add_done_callback(partial(self._handled, exchange))

    def _handled(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Whoever answers has ended. A fault of ours is for the log, and the caller learns that there was one."""
        self._state.tasks.discard(task)
        self._state.left()
        cancelled = task.cancelled()
        error = None if cancelled else task.exception()
        if error is not None:
            log.error("a request was not answered as it should be: a fault of this server", exc_info=error)
        if exchange.gone or exchange.ended:
            return
        if exchange.started:
            self.abort()
        else:
            exchange.keep_alive = False
            status, words = (503, _STOPPING) if cancelled else (500, _FAULT)
            exchange.start(status, [(b"content-type", b"text/plain")], words, more=False)

    def _next(self, answered: Exchange) -> None:
        """An answer is whole, and so is its request."""
        self._current = None
        pace = self._intake.pace
        if pace.phase is Phase.NOTHING:
            pace.whole(self._loop.time())
        if self.seat is not None and self.seat.proxy:
            self.seat.answered()
        if not answered.keep_alive or self._intake.stopped or self._state.draining:
            self._close()
            return
        if self._waiting:
            self._answer(self._waiting.popleft())
        if self._paused and self._intake.taking is None:
            self._resume()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _check_arrival(self, now: float) -> None:
        verdict = self._intake.pace.verdict(self._limits, now, answering=self._current is not None)
        if verdict is Silence.CLOSE:
            self._close()
        elif isinstance(verdict, SurplusError):
            self._refuse(verdict)

    def _refuse(self, error: SurplusError) -> None:
        """Read no more on this connection, and say why, unless an answer is going out on it, or has gone."""
        taking, current = self._intake.taking, self._current
        self._refused = True
        self._intake.stop()
        self._edge.refused(error)
        self._note("a connection was refused at the edge", code=error.code)
        if taking is not None and taking.ended:
            self._close()  # what is wrong is wrong with a request that has been answered
            return
        if current is not None:
            if current is not taking or current.started:
                self._waiting.clear()
                current.keep_alive = False  # its answer is the last on this connection
                return
            current.lost()
        self._transport.write(last_answer(error.status, self._edge.tell(self._intake.target.decode("latin-1"), error)))
        self._linger()

    def _linger(self) -> None:
        """End, but give the caller time to read what was said to it."""
        self._refused = True
        self._intake.stop()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._refused_at = self._loop.time()

    def _close(self) -> None:
        """Send what is written, then end."""
        self._intake.stop()
        self._transport.close()

    @property
    def _peer(self) -> str:
        address = _address(self._transport.get_extra_info("peername"))
        return address[0] if address is not None else ""

    def _note(self, what: str, **fields: str) -> None:
        known = self._current or self._intake.taking
        caller = known.ends.caller if known is not None else None
        log.info(what, extra={"fields": {"client": caller[0] if caller is not None else self._peer, **fields}})


def _address(name: tuple[Any, ...] | str | None) -> tuple[str, int] | None:
    """Host and port; a local socket has none."""
    return (name[0], name[1]) if isinstance(name, tuple) else None
