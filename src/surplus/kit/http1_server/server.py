"""Listens, keeps time for all connections, and drains."""

import asyncio
import socket
import ssl
from email.utils import formatdate
from typing import Final

from surplus.kit.clock import Clock
from surplus.kit.http1_server.connection import Connection
from surplus.kit.http1_server.limits import Limits
from surplus.kit.http1_server.state import Handler, State

BACKLOG: Final = 2048


class Server:
    """Serves one socket until it is told to stop."""

    TICK_S: Final = 1.0

    def __init__(self, clock: Clock, *, limits: Limits, drain_s: float) -> None:
        """Make it inside the event loop that it will run in."""
        self._state = State(limits)
        self._clock = clock
        self._drain_s = drain_s

    @property
    def connections(self) -> frozenset[Connection]:
        """Those that are open now."""
        return frozenset(self._state.connections)

    async def serve(
        self, handle: Handler, sock: socket.socket, stop: asyncio.Event, tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve until `stop`, then answer what is under way, for at most `drain_s` seconds; what takes longer is
        cancelled. Returns when no task of a request runs any more.
        """
        state = self._state
        self._tick()
        listening = await state.loop.create_server(
            lambda: Connection(state, handle), sock=sock, ssl=tls, backlog=BACKLOG
        )
        try:
            await stop.wait()
        finally:
            listening.close()
            await self._drain()
            self._timer.cancel()

    def _tick(self) -> None:
        state = self._state
        state.date = b"date: %b\r\n" % formatdate(self._clock.now(), usegmt=True).encode()
        now = state.loop.time()
        for connection in [each for each in state.connections if each.deadline <= now]:
            connection.late()
        self._timer = state.loop.call_later(self.TICK_S, self._tick)

    async def _drain(self) -> None:
        state = self._state
        state.draining = True
        for connection in self.connections:
            connection.drain()
        state.left()
        try:
            async with asyncio.timeout(self._drain_s):
                await state.emptied.wait()
        except TimeoutError:
            running = list(state.tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for connection in self.connections:
            connection.abort()
