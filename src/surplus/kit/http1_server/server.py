"""Listens, keeps time for all connections, and drains."""

import asyncio
import socket
from email.utils import formatdate
from typing import Any, Final

from surplus.kit.clock import Clock
from surplus.kit.edge import Edge
from surplus.kit.http1_server.connection import Connection
from surplus.kit.http1_server.state import Handler, State

BACKLOG: Final = 2048
CHECK_S_MAX: Final = 1.0
CHECKS_PER_TIMEOUT: Final = 8


class Server:
    """Serves one socket until it is told to stop."""

    def __init__(self, clock: Clock, edge: Edge, *, drain_s: float) -> None:
        """Make it inside the event loop that it will run in."""
        limits = edge.limits
        shortest = min(limits.head_s, limits.body_s, limits.idle_s, limits.unread_s)
        self._check_s = min(CHECK_S_MAX, shortest / CHECKS_PER_TIMEOUT)
        self._state = State(edge)
        self._edge = edge
        self._clock = clock
        self._drain_s = drain_s

    @property
    def connections(self) -> frozenset[Connection]:
        """Those that are open now."""
        return frozenset(self._state.connections)

    async def serve(self, handle: Handler, sock: socket.socket, stop: asyncio.Event) -> None:
        """Serve until `stop`, then answer what is under way, for at most `drain_s` seconds; what takes longer is
        cancelled. Returns when no task of a request runs any more.
        """
        state = self._state
        tls: dict[str, Any] = {}
        if self._edge.tls is not None:
            tls = {"ssl": self._edge.tls.context, "ssl_handshake_timeout": self._edge.limits.head_s}
        self._check()
        listening = await state.loop.create_server(lambda: Connection(state, handle), sock=sock, backlog=BACKLOG, **tls)
        try:
            await stop.wait()
        finally:
            listening.close()
            await self._drain()
            self._timer.cancel()

    def _check(self) -> None:
        state = self._state
        state.date = b"date: %b\r\n" % formatdate(self._clock.now(), usegmt=True).encode()
        now = state.loop.time()
        for connection in tuple(state.connections):
            connection.check(now)
        if self._edge.tls is not None:
            self._edge.tls.reload()
        self._timer = state.loop.call_later(self._check_s, self._check)

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
