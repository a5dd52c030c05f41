"""The side that connects: calls, tells, and hears what is pushed; connects again when the link is lost."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from surplus.kit.errors import SurplusError, TooLarge, Unavailable
from surplus.kit.link.address import reachable
from surplus.kit.link.errors import LinkLost, decode_error
from surplus.kit.link.frames import Frame, Kind
from surplus.kit.link.wire import Wire

log: Final = logging.getLogger(__name__)

CALLS_MAX: Final = 20_000
"""Calls that may wait for their answers; beyond them a call is refused, because it would wait for too long."""
FIRST_S: Final = 0.02
MOST_S: Final = 1.0
WELCOME_S: Final = 5.0


class Link:
    """`topics` are called with what is pushed, `up` each time the link is there (again), `down` when it is lost.

    `jitter` gives numbers from 0 to 1 and spreads the attempts of those who lost it together.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        token: bytes,
        *,
        topics: Mapping[str, Callable[[bytes], None]],
        jitter: Callable[[], float],
        up: Callable[[], None] = lambda: None,
        down: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._hello = Frame(Kind.HELLO, 0, name, token)
        self._topics = topics
        self._jitter = jitter
        self._told_up = up
        self._told_down = down
        self._wire: Wire | None = None
        self._number = 0
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._welcome = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether a call would be sent now."""
        return self._welcome.is_set()

    async def wait_up(self) -> None:
        """Wait until the link is there."""
        await self._welcome.wait()

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        wait_s = FIRST_S
        try:
            while True:
                if await self._connect():
                    wait_s = FIRST_S
                    await self._gone.wait()
                await asyncio.sleep(wait_s * (0.5 + self._jitter() / 2))
                wait_s = min(wait_s * 2, MOST_S)
        finally:
            if self._wire is not None:
                self._wire.abort()

    async def call(self, channel: str, payload: bytes) -> bytes:
        """The answer of the other side. Raises what it raised; LinkLost without a link, or when it is lost meanwhile.

        A call whose answer is lost may have been carried out; nothing is sent twice. Raises TooLarge for a payload
        that does not go over a link at all, Unavailable when too many calls wait.
        """
        wire = self._wire
        if wire is None or not self._welcome.is_set():
            raise _lost("it cannot be reached")
        if len(self._calls) >= CALLS_MAX:
            raise Unavailable("too many requests wait for the control process; try again in a moment", retry_after_s=1)
        self._number += 1
        number = self._number
        try:
            wire.send(Frame(Kind.CALL, number, channel, payload))
        except ValueError as error:
            raise TooLarge(f"this cannot be handed to the control process: {error}") from error
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            return await future
        finally:
            self._calls.pop(number, None)

    def tell(self, channel: str, payload: bytes) -> None:
        """Say something that needs no answer. Without a link it is lost: `up` is the time to say how things stand."""
        if self._wire is not None and self._welcome.is_set():
            self._wire.send(Frame(Kind.TELL, 0, channel, payload))

    async def _connect(self) -> bool:
        self._gone.clear()
        loop = asyncio.get_running_loop()
        try:
            with reachable(self._path) as address:
                _, self._wire = await loop.create_unix_connection(self._make, address)
            async with asyncio.timeout(WELCOME_S):
                welcome = asyncio.create_task(self._welcome.wait())
                gone = asyncio.create_task(self._gone.wait())
                try:
                    await asyncio.wait({welcome, gone}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    welcome.cancel()
                    gone.cancel()
        except TimeoutError:
            if self._wire is not None:
                self._wire.abort()
            return False
        except OSError:
            return False
        return self._welcome.is_set()

    def _make(self) -> Wire:
        return Wire(made=lambda wire: wire.send(self._hello), received=self._received, lost=self._lost)

    def _received(self, wire: Wire, frames: list[Frame]) -> None:
        for frame in frames:
            match frame.kind:
                case Kind.ANSWER | Kind.ERROR:
                    self._resolve(frame)
                case Kind.PUSH if frame.name in self._topics:
                    self._topics[frame.name](frame.payload)
                case Kind.WELCOME:
                    self._welcome.set()
                    self._told_up()
                case _:
                    log.error("the link is cut: the other side says what nobody understands")
                    wire.abort()
                    return

    def _resolve(self, frame: Frame) -> None:
        future = self._calls.get(frame.number)
        if future is None or future.done():  # whoever asked has gone
            return
        if frame.kind == Kind.ANSWER:
            future.set_result(frame.payload)
        else:
            future.set_exception(decode_error(frame.payload))

    def _lost(self, wire: Wire) -> None:
        if self._wire is wire:
            self._wire = None
        was_up = self._welcome.is_set()
        self._welcome.clear()
        self._gone.set()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(_lost("it was lost before it answered"))
        if was_up:
            self._told_down()


def _lost(what: str) -> SurplusError:
    return LinkLost(f"the control process of this server is away ({what}); try again in a moment", retry_after_s=1)
