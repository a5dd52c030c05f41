"""Our side of the connection to the caller: reading the body, answering, and noticing that the caller has gone.

A caller that goes away must not leave work behind. While `abortable` is entered, its going cancels what the request is
waiting for, at once or after a while, and the wait ends in ClientGone; outside of it only the flag `gone` is set.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from starlette.types import Receive, Scope, Send

from surplus.gateway.errors import BodyTooLarge
from surplus.kit.edge import claim

Headers = list[tuple[bytes, bytes]]

WATCH_AFTER_S: Final = 0.02


class ClientGone(Exception):
    """The caller closed the connection before the answer was whole."""


def at_once() -> float:
    """Nothing is waited for."""
    return 0.0


class Client:
    """One request's caller."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._slow: Callable[[], None] | None = None
        self._abort_after_s: Callable[[], float] | None = None
        self._abort: asyncio.TimerHandle | None = None
        self._aborted = False
        self._gone_at = 0.0
        self._sending = False
        self.gone = False
        self.started = False
        self.ended = False
        self.last_sent_at = 0.0

    def claim(self, key: str) -> None:
        """The caller's connection is this key's. Raises TooManyConnections."""
        claim(self._scope, key)

    def header(self, name: bytes) -> bytes | None:
        """The first header of this lower-case name."""
        for key, value in self._scope["headers"]:
            if key == name:
                return value
        return None

    async def body(self, limit: int) -> bytes:
        """The whole request body. Raises BodyTooLarge beyond `limit` bytes, ClientGone if it never arrives whole."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        message = await self._receive()
        parts: list[bytes] = [message.get("body", b"")]
        size = len(parts[0])
        while message["type"] == "http.request" and message.get("more_body"):
            message = await self._receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
        if message["type"] == "http.disconnect":
            self.gone = True
            raise ClientGone
        return b"".join(parts)

    def watch(self) -> None:
        """Notice from now on that the caller goes away. Call once, after the body has been read.

        Most answers are there sooner than it pays to watch for, so the task starts a moment later.
        """
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start_watching)

    def when_slow(self, act: Callable[[], None] | None) -> None:
        """Do this as soon as the answer takes longer than most, so that the quick ones need not pay for it."""
        self._slow = act
        if act is not None and self._watch is not None:
            act()

    def _start_watching(self) -> None:
        self._watch = asyncio.create_task(self._until_gone())
        if self._slow is not None:
            self._slow()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.ended:
            return
        self.gone = True
        self._gone_at = asyncio.get_running_loop().time()
        self._abort_in_time()

    @contextmanager
    def abortable(self, after_s: Callable[[], float] = at_once) -> Generator[None]:
        """Within: some seconds after the caller has gone, what is awaited is cancelled and ClientGone is raised.

        `after_s` is asked for how many when it goes.
        """
        if self.gone and not after_s():
            raise ClientGone
        self._abort_after_s = after_s
        self._abort_in_time()
        try:
            yield
        except asyncio.CancelledError:
            if not self._aborted or self._task is None or self._task.uncancel() > 0:
                raise  # somebody else cancels us: the server is going down
            raise ClientGone from None
        finally:
            self._abort_after_s = None
            if self._abort is not None:
                self._abort.cancel()

    def _abort_in_time(self) -> None:
        if self.gone and self._abort_after_s is not None:
            loop = asyncio.get_running_loop()
            self._abort = loop.call_at(self._gone_at + self._abort_after_s(), self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._aborted = True
            self._task.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of the answer."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body; `more=False` ends the answer. Waits while the caller's connection is full."""
        self._sending = True
        self.ended = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._sending = False
        self.last_sent_at = asyncio.get_running_loop().time()

    @property
    def idle(self) -> bool:
        """The answer has begun, has not ended, and nothing is being sent right now."""
        return self.started and not self.ended and not self._sending and not self.gone

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than the {limit} bytes that this server takes; send less at once")
