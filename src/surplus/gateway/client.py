"""Our side of the connection to the caller: reading the body, answering, and noticing that the caller has gone.

A caller that goes away must not leave work behind. While `abortable` is entered, its going cancels what the request is
waiting for, at once or after a while, and the wait ends in ClientGone; outside of it only the flag `gone` is set.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from surplus.gateway.errors import BodyTooLarge
from surplus.kit.http1_server import Exchange, Gone, Headers


class ClientGone(Exception):
    """The caller closed the connection before the answer was whole."""


def at_once() -> float:
    """Nothing is waited for."""
    return 0.0


class Client:
    """One request's caller. Make it in the task that serves the request."""

    __slots__ = (
        "_aborted", "_after_s", "_exchange", "_gone_at", "_head", "_loop", "_task", "_timer",
        "ended", "gone", "header", "last_sent_at", "started",
    )  # fmt: skip

    def __init__(self, exchange: Exchange) -> None:
        self.header = exchange.header
        self.gone = exchange.gone
        self.started = False
        self.ended = False
        self.last_sent_at = 0.0
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._head: tuple[int, Headers] | None = None
        self._after_s: Callable[[], float] | None = None
        self._aborted = False
        self._timer: asyncio.TimerHandle | None = None
        self._gone_at = 0.0
        exchange.when_gone = self._left

    def claim(self, key: str) -> None:
        """The caller's connection is this key's. Raises TooManyConnections."""
        seat = self._exchange.seat
        if seat is not None:
            seat.claim(key)

    async def body(self, limit: int) -> bytes:
        """The whole request body. Raises BodyTooLarge beyond `limit` bytes, ClientGone if it never arrives whole."""
        exchange = self._exchange
        declared = exchange.header(b"content-length")
        if declared is not None and int(declared) > limit:  # the server lets only numbers pass
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        try:
            while not exchange.received or not parts:
                data = await exchange.receive()
                parts.append(data)
                size += len(data)
                if size > limit:
                    raise _too_large(limit)
        except Gone as error:
            raise ClientGone from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abortable(self, after_s: Callable[[], float] = at_once) -> Self:
        """Within (`with`, not nested): some seconds after the caller has gone, what is awaited is cancelled and
        ClientGone is raised. `after_s` is asked for how many when it goes.
        """
        self._after_s = after_s
        return self

    def __enter__(self) -> None:
        assert self._after_s is not None
        if self.gone:
            if not self._after_s():
                raise ClientGone
            self._abort_in_time(self._after_s())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._after_s = None
        if self._timer is not None:
            self._timer.cancel()
        if self._aborted and kind is asyncio.CancelledError and self._task is not None and self._task.uncancel() <= 0:
            raise ClientGone from None  # else somebody else cancels us: the server is going down

    def _left(self) -> None:
        self.gone = True
        self._gone_at = self._loop.time()
        if self._after_s is not None:
            self._abort_in_time(self._after_s())

    def _abort_in_time(self, after_s: float) -> None:
        self._timer = self._loop.call_at(self._gone_at + after_s, self._abort)

    def _abort(self) -> None:
        if self._task is not None:
            self._aborted = True
            self._task.cancel()

    def start(self, status: int, headers: Headers) -> None:
        """Begin the answer. Its head leaves with the first part of the body."""
        self.started = True
        self._head = (status, headers)

    def push(self, data: bytes, *, more: bool = True) -> bool:
        """Send a part of the body; `more=False` ends the answer. False if the next part should wait for `drained`."""
        self.ended = not more
        self.last_sent_at = self._loop.time()
        if self._head is None:
            return self._exchange.send(data, more=more)
        (status, headers), self._head = self._head, None
        self._exchange.start(status, headers, data, more=more)
        return not self._exchange.full

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body as soon as the caller's connection has room for it."""
        if self._exchange.full:
            await self._exchange.drained()
        self.push(data, more=more)

    async def drained(self) -> None:
        """Wait until the caller's connection has room again, or is gone."""
        await self._exchange.drained()

    @property
    def idle(self) -> bool:
        """The answer has begun, has not ended, and nothing waits to be sent."""
        return self.started and not self.ended and not self.gone and not self._exchange.full


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than the {limit} bytes that this server takes; send less at once")
