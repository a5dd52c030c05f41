"""Opening connections: names to addresses, addresses to connections, TLS where the URL says so."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final

from surplus.kit.link import reachable
from surplus.serving.http1.connection import Connection
from surplus.serving.http1.origin import Origin

NEXT_AFTER_S: Final = 0.25
"""RFC 8305, section 5: how long an address may keep us waiting before the next one is tried beside it."""


class Dialer:
    """Without a TLS context of the caller's, certificates are verified against the system's authorities.

    With a `unix` socket every connection leads there, whatever its origin.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, unix: Path | None = None) -> None:
        self._tls = tls
        self._unix = unix

    async def dial(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """A connection to the first address that takes one. Raises OSError, or UnicodeError for an impossible name."""
        if self._unix is not None:
            with reachable(self._unix) as address:
                _, connection = await asyncio.get_running_loop().create_unix_connection(make, address)
            return connection
        context = await self._context() if origin.tls else None
        name = origin.host if origin.tls else None

        async def reach(address: str) -> Connection:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(make, address, origin.port, ssl=context, server_hostname=name)
            return connection

        addresses = [origin.host] if origin.numeric else await _look_up(origin)
        return await reach(addresses[0]) if len(addresses) == 1 else await race(addresses, reach)

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Reading all authorities takes tens of milliseconds, in which other requests want to go on.
            self._tls = await asyncio.to_thread(_verifying)
        return self._tls


def _verifying() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _look_up(origin: Origin) -> list[str]:
    """The host's addresses in the resolver's order, the two families in turn (RFC 8305, section 4)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    first = [str(each[4][0]) for each in found if each[0] == found[0][0]]
    other = [str(each[4][0]) for each in found if each[0] != found[0][0]]
    return [address for address in chain(*zip_longest(first, other)) if address is not None]


async def race(
    addresses: Sequence[str],
    reach: Callable[[str], Coroutine[Any, Any, Connection]],
    *,
    next_after_s: float = NEXT_AFTER_S,
) -> Connection:
    """The first connection that comes about; the others are given up. Raises what the first address raised.

    Ours and not `create_connection(happy_eyeballs_delay=...)`, which uvloop does not know.
    """
    waiting = list(reversed(addresses))
    attempts: list[asyncio.Task[Connection]] = []
    going: set[asyncio.Task[Connection]] = set()
    try:
        while waiting or going:
            if waiting:
                attempts.append(asyncio.create_task(reach(waiting.pop())))
                going.add(attempts[-1])
            limit = next_after_s if waiting else None
            done, going = await asyncio.wait(going, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if attempt.exception() is None:
                    attempts.remove(attempt)
                    return attempt.result()
        return attempts[0].result()
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_give_up)


def _give_up(attempt: "asyncio.Task[Connection]") -> None:
    """An attempt may have succeeded all the same, at the last moment."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()
