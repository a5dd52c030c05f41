"""One end of a link: frames in and out of a socket, many to a write, and a bound on what waits."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, cast

from surplus.kit.link.frames import BadFrame, Frame, Splitter, encode

log: Final = logging.getLogger(__name__)

WAITING_MAX: Final = 64 * 1024 * 1024
"""Bytes that may wait for the other side to read. It can ask for everything again; memory does not come back."""


class Wire(asyncio.Protocol):
    """`received` gets the frames of one read, in order; `lost` is called once, at the end."""

    def __init__(
        self,
        *,
        made: "Callable[[Wire], None]",
        received: "Callable[[Wire, list[Frame]], None]",
        lost: "Callable[[Wire], None]",
    ) -> None:
        self._made = made
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._splitter = Splitter()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._held_back = False
        self.full = False
        self.alive = False

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are such without being derived from it
        self.alive = True
        self._made(self)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._splitter.feed(data)
        except BadFrame:
            log.exception("a link is cut: what came over it cannot be read")
            self.abort()
            return
        if frames:
            self._received(self, frames)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the loop gives it by name
        self.alive = False
        self._out.clear()
        self._lost(self)

    # ---- called by those who use it

    def send(self, frame: Frame) -> None:
        """Send with whatever else is sent in this turn of the loop. Raises ValueError for a frame that is too long.

        A side that does not read loses the link when too much waits for it.
        """
        data = encode(frame)
        if not self.alive:
            return
        if not self._out and not self.full:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > WAITING_MAX:
            log.error("a link is cut: the other side does not read")
            self.abort()

    def hold_back(self, *, wanted: bool) -> None:
        """Whether to stop reading: the other side may send what fits into the kernel's buffers, and then waits."""
        if wanted is not self._held_back and self.alive:
            self._held_back = wanted
            (self._transport.pause_reading if wanted else self._transport.resume_reading)()

    def close(self) -> None:
        """End it after what was sent has left."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self.alive = False
        self._transport.abort()

    def _flush(self) -> None:
        if self._out and not self.full and self.alive:
            data, self._out, self._out_bytes = b"".join(self._out), [], 0
            self._transport.write(data)
