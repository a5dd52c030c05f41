"""One request and its answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from surplus.kit.edge.proxies import Forwarded
from surplus.kit.edge.seats import Seat
from surplus.kit.http1_server.head import BODILESS, Head, Headers, answer_head

_OPEN: Final = -1
_CHUNKED: Final = -2
_BODILESS: Final = -3


class Gone(Exception):
    """The caller's connection ended before the request or its answer was whole."""


class Line(Protocol):
    """The connection as one exchange sees it."""

    seat: Seat | None
    """Whom the connection counts for."""
    full: bool
    """What was written waits to be sent: more should not be written until it is."""

    def write(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""
        ...

    def wanted(self) -> None:
        """The body is waited for."""
        ...

    def answered(self) -> None:
        """The answer is whole. `keep_alive` of the exchange says whether the connection may go on."""
        ...

    @property
    def date(self) -> bytes:
        """The date field, with its end of line."""
        ...

    @property
    def ends(self) -> "Ends":
        """Who talks to whom."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """Address and port of both ends, and the scheme of the URLs that lead here; None where there is no address."""

    caller: tuple[str, int] | None
    here: tuple[str, int] | None
    scheme: str


class Exchange:
    """A request as it comes and its answer as it goes: `start`, then `send` until `more` is false.

    What is written after the caller has gone is thrown away; `gone` says so, and `when_gone` is called at that moment,
    unless the answer was whole by then. One reader and one writer at a time.
    """

    __slots__ = (
        "_forwarded", "_framing", "_line", "_parts", "_reader", "_writer",
        "ended", "gone", "head", "held", "keep_alive", "received", "started", "when_gone",
    )  # fmt: skip

    def __init__(self, line: Line, head: Head, forwarded: Forwarded | None = None) -> None:
        """`forwarded`: what a trusted proxy says about who calls."""
        self._forwarded = forwarded
        self.head = head
        self.received = False  # the body is whole
        self.held = 0  # bytes of the body that nobody has taken
        self.started = False
        self.ended = False
        self.gone = False
        self.keep_alive = head.keep_alive
        self.when_gone: Callable[[], None] | None = None
        self._line = line
        self._parts: list[bytes] = []
        self._framing = _OPEN  # or the bytes that are still to come
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first field of this lower-case name."""
        for key, value in self.head.headers:
            if key == name:
                return value
        return None

    @property
    def ends(self) -> Ends:
        """Who asks, and where."""
        ends, forwarded = self._line.ends, self._forwarded
        if forwarded is None:
            return ends
        return Ends((forwarded.client, 0), ends.here, forwarded.scheme or ends.scheme)

    @property
    def seat(self) -> Seat | None:
        """The place of this connection among all; None where nobody counts them."""
        return self._line.seat

    # ---- the request's body

    async def receive(self) -> bytes:
        """What has come of the body, as soon as there is anything; b"" at its end. Raises Gone."""
        while not self._parts:
            if self.received:
                return b""
            if self.gone:
                raise Gone
            self._line.wanted()
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.held = 0
        if not self.received:
            self._line.wanted()
        return data

    async def left(self) -> None:
        """Wait until the caller has gone or the answer is whole."""
        while not self.gone and not self.ended:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    # ---- the answer

    def start(self, status: int, headers: Headers, data: bytes, *, more: bool) -> None:
        """The head and the first part of the body. Without a content-length among the headers, one is added where all
        is said at once; a longer answer is sent in chunks, or until the connection ends to those who know no chunks.
        """
        head = answer_head(status, headers)
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        self.started = True
        if status in BODILESS:
            self._framing = _BODILESS
        elif length is not None:
            self._framing = length
        elif not more:
            self._framing = len(data)
            head += b"content-length: %d\r\n" % len(data)
        elif self.head.version == "1.1":
            self._framing = _CHUNKED
            head += b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False
        if self.head.method == "HEAD":
            self._framing = _BODILESS
        if not self.keep_alive:
            head += b"connection: close\r\n"
        elif self.head.version == "1.0":
            head += b"connection: keep-alive\r\n"
        self._pass_on(head + self._line.date + b"\r\n", data, more=more)

    def send(self, data: bytes, *, more: bool) -> bool:
        """The next part of the body; the last with `more=False`. False if the next should wait for `drained`."""
        self._pass_on(b"", data, more=more)
        return not self._line.full

    def _pass_on(self, head: bytes, data: bytes, *, more: bool) -> None:
        if self.gone or self.ended:
            return
        if self._framing == _CHUNKED:
            if data:
                head = b"%b%x\r\n%b\r\n" % (head, len(data), data)
            if not more:
                head += b"0\r\n\r\n"
        elif self._framing != _BODILESS:
            if self._framing >= 0:
                self._count(len(data), more=more)
            head += data
        if head:
            self._line.write(head)
        if not more:
            self.ended = True
            self._wake()
            self._line.answered()

    def _count(self, size: int, *, more: bool) -> None:
        """An answer that is not as long as it said cannot be followed by another, and too long a one misleads."""
        if size > self._framing:
            raise ValueError("an answer is longer than its content-length")
        self._framing -= size
        if not more and self._framing:
            self.keep_alive = False

    @property
    def full(self) -> bool:
        """More should not be sent until `drained`."""
        return self._line.full and not self.gone

    async def drained(self) -> None:
        """Wait until the caller has taken most of what was sent, or has gone."""
        while self.full:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    # ---- called by the connection

    def feed(self, data: bytes) -> None:
        """A part of the body has come. It is of no use after the answer."""
        if not self.ended:
            self._parts.append(data)
            self.held += len(data)
            if self._reader is not None:
                self._wake()

    def complete(self) -> None:
        """The body is whole."""
        self.received = True
        if self._reader is not None:
            self._wake()

    def resume(self) -> None:
        """What was written has been sent."""
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def lost(self) -> None:
        """The connection has ended, or will be of no use. A second call does nothing."""
        if self.ended or self.gone:
            return
        self.gone = True
        self._wake()
        self.resume()
        if self.when_gone is not None:
            self.when_gone()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
