"""One connection: requests go out whole, one after the other, and wake their sender when there is news."""

import asyncio
import math
import select
import ssl
from collections.abc import Callable
from typing import Final, cast

from surplus.serving.http1.origin import Origin
from surplus.serving.http1.response import Response

HELD_MAX: Final = 256 * 1024
WHOLE_MAX: Final = 1024 * 1024
PIECE: Final = 256 * 1024


class Connection(asyncio.Protocol):
    """`lost` is called when it has ended, `settled` when an answer that was left to `linger` is over.

    One timer serves all waits, and runs on between them: a wait only says when it would be over. When the timer rings
    too early for the present wait, it is set again; so a stream costs no timer for each of its chunks.
    """

    def __init__(
        self, origin: Origin, *, lost: "Callable[[Connection], None]", settled: "Callable[[Connection], None]"
    ) -> None:
        self.origin = origin
        self.response: Response | None = None
        self.alive = False
        self.idle_since = -math.inf
        self._lost = lost
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._reading_paused = False
        self._writing_paused = False
        self._unsent = False
        self._lingering = False
        self._waiter: asyncio.Future[bool] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._silence_s = math.inf
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are such without being derived from it
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.alive = True

    def data_received(self, data: bytes) -> None:
        response = self.response
        if response is None:  # nobody asked for anything
            self.abort()
            return
        response.feed(data)
        if self._take is not None and not response.over:
            self._pass_on(self._take, response)
        elif self._waiter is not None:
            self._wake()
        elif self._lingering:
            self._linger_on(response)
        if response.held > HELD_MAX and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        if self.response is not None and self._ended_properly():
            self.response.close()
        self._end(ConnectionError("the connection ended before the answer did"))
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the connection was closed"))
        if self._timer is not None:
            self._timer.cancel()
        self._lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    # ---- called by those who use it

    @property
    def quiet(self) -> bool:
        """Whether it is open and has nothing to say, asked of the kernel: the event loop may not know of an end yet."""
        return self.alive and not self._poll.poll(0)

    async def ask(self, head: bytes, body: bytes, deadline: float) -> Response:
        """Send a request; returns when the head of its answer is here, or what went wrong is in the answer's `error`.

        Raises TimeoutError at `deadline` (the loop's time).
        """
        response = self.response = Response()
        answered = False
        try:
            if not self.alive:
                response.fail(ConnectionError("the connection ended as soon as it was made"))
            elif len(body) <= WHOLE_MAX:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                await self._upload(response, memoryview(body), deadline)
            while not response.ready and response.error is None:
                await self.wait(deadline)
            answered = response.ready
        finally:
            if not answered:
                self.abort()
        return response

    def wait(self, deadline: float) -> asyncio.Future[bool]:
        """Done when there is something new, or with TimeoutError at `deadline` (the loop's time). One at a time.

        The result is False, but for a wait of `follow`.
        """
        waiter = self._waiter = self._loop.create_future()
        self._deadline = deadline
        if deadline < self._rings_at:
            self._ring_at(deadline)
        return waiter

    def follow(self, take: Callable[[bytes], bool], silence_s: float) -> asyncio.Future[bool]:
        """A wait in which what comes of the body goes to `take` at once.

        Done with True when `take` has returned False, with False when the answer is over; TimeoutError after
        `silence_s` seconds without a byte of the body.
        """
        self._take = take
        self._silence_s = silence_s
        return self.wait(self._loop.time() + silence_s)

    def unfollow(self) -> None:
        """The wait is over, whatever it ended in."""
        self._take = None

    def read_on(self) -> None:
        """What was read has been taken."""
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    @property
    def reusable(self) -> bool:
        """Whether request and answer are complete, and both sides keep the connection."""
        response = self.response
        return response is not None and response.ended and response.keep_alive and not self._unsent

    @property
    def read_up(self) -> bool:
        """Whether all of the answer that has come was taken, and more may come."""
        return self.alive and self.response is not None and not self.response.unread and not self.response.over

    def rest(self) -> None:
        """Let go of an answer that is over; the next request may come."""
        self.response = None
        self.idle_since = self._loop.time()
        self.read_on()

    def linger(self, seconds: float) -> None:
        """Throw away what still comes; `settled` is called when the answer has ended, `lost` if it does not in time."""
        self._lingering = True
        self._deadline = self._loop.time() + seconds
        if self._deadline < self._rings_at:
            self._ring_at(self._deadline)

    def abort(self) -> None:
        """End it at once, whatever is under way."""
        if self.response is not None:
            self.response.drop()
        self.alive = False
        self._transport.abort()

    # ---- inside

    async def _upload(self, response: Response, body: memoryview, deadline: float) -> None:
        self._unsent = True
        for start in range(0, len(body), PIECE):
            if self._transport.is_closing():
                return
            self._transport.write(body[start : start + PIECE])
            while self._writing_paused:
                if response.error is not None or (response.ready and response.status >= 300):
                    return  # it is refused: nobody reads the rest
                await self.wait(deadline)
        self._unsent = False

    def _ended_properly(self) -> bool:
        """Over TLS only the other side's close_notify is an end; without it, anybody may have cut the connection.

        uvloop does not report an end of the other kind at all, asyncio reports both alike.
        """
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError:
            return False

    def _end(self, error: Exception) -> None:
        self.alive = False
        if self.response is not None:
            self.response.fail(error)
        self._wake()

    def _pass_on(self, take: Callable[[bytes], bool], response: Response) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # whoever waits was told to stop, and has not yet
        data = response.take()
        if data:
            self._deadline = self._loop.time() + self._silence_s
            if not take(data):
                self._take = None
                self._wake(stopped=True)

    def _wake(self, *, stopped: bool = False) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(stopped)

    def _linger_on(self, response: Response) -> None:
        response.take()
        if response.over:
            self._lingering = False
            self._settled(self)

    def _ring_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = when
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._rings_at, self._timer = math.inf, None
        if self._waiter is None and not self._lingering:
            return
        if self._loop.time() < self._deadline:
            self._ring_at(self._deadline)
        elif self._lingering:
            self.abort()
        elif self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            if not waiter.done():
                waiter.set_exception(TimeoutError())
