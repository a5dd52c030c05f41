"""One caller's connection: requests are read as they come and answered one after the other."""

import asyncio
import logging
import math
from collections import deque
from functools import partial
from typing import Any, Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from surplus.kit.http1_server.exchange import Ends, Exchange
from surplus.kit.http1_server.head import CONTINUE, BadTarget, Head, Headers, answer_head, split_target
from surplus.kit.http1_server.state import Handler, State

log: Final = logging.getLogger(__name__)

LINGER_S: Final = 2.0
_BAD_REQUEST: Final = "this is not a request of HTTP/1.1\n"
_TOO_LARGE: Final = "the head of this request is too large\n"
_LATE: Final = "the request did not come in time\n"
_FAULT: Final = "a fault of this server; its log says more\n"
_STOPPING: Final = "this server is shutting down; try again in a moment\n"
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class Connection(asyncio.Protocol):
    """`deadline` is the loop's time at which the caller must have done what we wait for, infinite where we wait for
    nothing of the caller's. One clock for all connections looks after it, so that a request costs no timer.
    """

    def __init__(self, state: State, handle: Handler) -> None:
        self.deadline = math.inf
        self.full = False
        self._state = state
        self._handle = handle
        self._loop = state.loop
        self._transport: asyncio.Transport
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._target = b""
        self._fields: Headers = []
        self._head_bytes = 0  # of a head that is not complete, but for what came in the same piece as its beginning
        self._read = 0
        self._in_head = False
        self._taking: Exchange | None = None  # whose body is being read
        self._current: Exchange | None = None  # which is being answered
        self._waiting: deque[Exchange] = deque()
        self._paused = False
        self._expects = False
        self._discarded = 0
        self._upgrading = False

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are such without being derived from it
        self._state.connections.add(self)
        self.deadline = self._loop.time() + self._state.limits.head_s

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return  # this connection is ending
        self._read = len(data)
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            self._misunderstood(error)
        taking = self._taking
        if taking is not None:
            self._body_came(taking, len(data))
        elif self._in_head and self._head_bytes > self._state.limits.head_bytes:
            self._refuse(431, _TOO_LARGE)

    def eof_received(self) -> None:
        """Who has stopped sending has left: nothing tells it from a caller that is gone, and its answer is work."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio calls it with one
        self._parser = None
        self.deadline = math.inf
        self._waiting.clear()
        self._state.connections.discard(self)
        for exchange in (self._current, self._taking):
            if exchange is not None:
                exchange.lost()
        if self._state.draining:
            self._state.left()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._current is not None:
            self._current.resume()

    # ---- called by the parser

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._target = b""
        self._fields = []
        if self._current is None:
            self.deadline = self._loop.time() + self._state.limits.head_s

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._upgrading:
            return
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise BadTarget("this version of HTTP is not spoken here")
        if self._head_bytes + self._read > self._state.limits.head_bytes:
            self._check_head()
        path, raw_path, query = split_target(self._target)
        method = parser.get_method().decode("ascii")
        head = Head(method, path, raw_path, query, self._fields, version, parser.should_keep_alive())
        exchange = self._taking = Exchange(self, head)
        self._expects = False
        if version == "1.1":
            for name, value in self._fields:
                if name == b"expect":
                    self._expects = value.lower() == b"100-continue"
        self._discarded = 0
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self._pause()

    def on_body(self, data: bytes) -> None:
        if self._taking is not None:
            self._expects = False
            self._taking.feed(data)

    def on_message_complete(self) -> None:
        parser, exchange = self._parser, self._taking
        if parser is None or exchange is None or (parser.should_upgrade() and not self._upgrading):
            return
        self._upgrading = False
        self._expects = False
        self._taking = None
        self.deadline = math.inf
        exchange.complete()
        if exchange.ended:  # it was answered before it had come
            self._next(exchange)

    # ---- called by the exchange

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def wanted(self) -> None:
        if self._expects:
            self._expects = False
            self._transport.write(CONTINUE)
        if self._paused and not self._waiting:
            self._resume()
        self.deadline = self._loop.time() + self._state.limits.body_s

    def answered(self) -> None:
        exchange = self._current
        assert exchange is not None
        if exchange.received:
            self._next(exchange)
        elif self._expects:  # the body will not come, or we cannot tell it from the next request
            self._close()
        else:
            self._resume()
            self.deadline = self._loop.time() + self._state.limits.body_s

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

    def late(self) -> None:
        """The deadline is over."""
        if self._in_head or (self._taking is not None and not self._taking.started):
            self._refuse(408, _LATE)
        else:
            self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._parser = None
        self._transport.abort()

    # ---- inside

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self.deadline = math.inf
        if self._state.draining:
            exchange.keep_alive = False
        task = self._loop.create_task(self._handle(exchange))
        self._state.tasks.add(task)
        task.add_done_callback(partial(self._handled, exchange))

    def _handled(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Whoever answers has ended. A fault of ours is for the log, and the caller learns that there was one."""
        self._state.tasks.discard(task)
        if self._state.draining:
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
            exchange.start(status, [(b"content-type", b"text/plain")], words.encode(), more=False)

    def _next(self, answered: Exchange) -> None:
        """An answer is whole, and so is its request."""
        self._current = None
        if not answered.keep_alive or self._parser is None or self._state.draining:
            self._close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self.deadline = self._loop.time() + self._state.limits.idle_s
            self._resume()

    def _body_came(self, taking: Exchange, size: int) -> None:
        if taking.ended:
            self._discarded += size
            if self._discarded > self._state.limits.discard_bytes:
                self.abort()
            return
        self.deadline = self._loop.time() + self._state.limits.body_s
        if taking.held > self._state.limits.held_bytes:
            self.deadline = math.inf  # it is we who are slow
            self._pause()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _check_head(self) -> None:
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
        if size > self._state.limits.head_bytes:
            raise OverflowError(_TOO_LARGE)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """We speak no other protocol, so the request is one like any other (RFC 9110, section 7.8). The parser thinks
        that it has no body; another one is told that it has, and goes on from there.
        """
        taking = self._taking
        if taking is None:
            self._parser = None
            return
        framing = [field for field in taking.head.headers if field[0] in {b"content-length", b"transfer-encoding"}]
        self._upgrading = True
        self._parser = HttpRequestParser(self)
        try:
            self._parser.feed_data(
                b"POST / HTTP/1.1\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % field for field in framing])
            )
            if rest:
                self._parser.feed_data(rest)
        except HttpParserError as error:
            self._misunderstood(error)

    def _misunderstood(self, error: HttpParserError) -> None:
        """What follows cannot be trusted. What came whole before it is answered."""
        if isinstance(error.__context__, OverflowError):
            self._refuse(431, _TOO_LARGE)
        elif self._current is not None and self._taking is None:
            self._parser = None
            self._current.keep_alive = False
        else:
            self._refuse(400, _BAD_REQUEST)

    def _refuse(self, status: int, words: str) -> None:
        """Answer what is no request, where nothing was answered yet, and end."""
        self._parser = None
        self._in_head = False
        exchange, self._taking = self._taking, None
        if exchange is not None:
            exchange.lost()
        current = self._current
        if current is None or (exchange is current and not current.started):
            body = words.encode()
            fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
            self._transport.write(
                answer_head(status, [*fields, (b"connection", b"close")]) + self.date + b"\r\n" + body
            )
        self._close_softly()

    def _close_softly(self) -> None:
        """End without a reset, which would take our last words from a caller that is still sending."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self.deadline = self._loop.time() + LINGER_S
        else:
            self._close()

    def _close(self) -> None:
        """Send what is written, then end; whoever does not take it in time is cut off."""
        self._parser = None
        self.deadline = self._loop.time() + self._state.limits.idle_s
        self._transport.close()


def _address(name: tuple[Any, ...] | str | None) -> tuple[str, int] | None:
    """Host and port; a local socket has none."""
    return (name[0], name[1]) if isinstance(name, tuple) else None
