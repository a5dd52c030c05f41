"""The connections that are open: in use, or idle for a moment."""

import asyncio
from functools import partial

from surplus.serving.http1.connection import Connection
from surplus.serving.http1.dial import Dialer
from surplus.serving.http1.origin import Origin


class Pool:
    """Keeps idle connections for `keep_alive_s` seconds; the one used last is used next.

    It is as large as its use: every connection in it is either in use or will be closed soon.
    """

    def __init__(self, dialer: Dialer, *, keep_alive_s: float, linger_s: float) -> None:
        self._dialer = dialer
        self._keep_alive_s = keep_alive_s
        self._linger_s = linger_s
        self._open: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None

    def take(self, origin: Origin) -> Connection | None:
        """A connection that is idle and, as far as anybody can tell, will answer."""
        idle = self._idle.get(origin)
        if not idle:
            return None
        oldest = asyncio.get_running_loop().time() - self._keep_alive_s
        while idle:
            connection = idle.pop()
            if connection.idle_since > oldest and connection.quiet:
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin, timeout_s: float) -> Connection:
        """A new connection. Raises OSError, TimeoutError after `timeout_s` seconds, UnicodeError for a bad name."""
        self._refuse_if_closed()
        make = partial(Connection, origin, lost=self._lost, settled=self.release)
        async with asyncio.timeout(timeout_s):
            connection = await self._dialer.dial(origin, make)
        if connection.alive:
            self._open.add(connection)
        if self._emptied is not None:
            connection.abort()
        self._refuse_if_closed()
        return connection

    @property
    def size(self) -> int:
        """How many connections are open, in use or idle."""
        return len(self._open)

    def release(self, connection: Connection) -> None:
        """Keep a connection whose answer is complete. One whose answer is read as far as it came gets a moment.

        For as a rule the last event of a stream and the end of the body that carries it come in two packets, and who
        has seen that event stops reading: without the moment, no connection would be used for two streams.
        """
        if connection.reusable:
            connection.rest()
            self._idle.setdefault(connection.origin, []).append(connection)
            if self._sweeper is None:
                self._sweep_later()
        elif connection.read_up:
            connection.linger(self._linger_s)
        else:
            connection.abort()

    async def close(self) -> None:
        """Close every connection, and open no more. Returns when the last is gone."""
        if self._emptied is None:
            self._emptied = asyncio.Event()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.abort()
        if self._open:
            await self._emptied.wait()

    def _refuse_if_closed(self) -> None:
        if self._emptied is not None:
            raise ConnectionError("the server is shutting down")

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._emptied is not None and not self._open:
            self._emptied.set()

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(self._keep_alive_s / 4, self._sweep)

    def _sweep(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._keep_alive_s
        for origin, idle in list(self._idle.items()):
            self._idle[origin] = [each for each in idle if each.alive and each.idle_since > oldest]
            for each in idle:
                if each.idle_since <= oldest:
                    each.abort()
            if not self._idle[origin]:
                del self._idle[origin]
        self._sweeper = None
        if self._idle:
            self._sweep_later()
