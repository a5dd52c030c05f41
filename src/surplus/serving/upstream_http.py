"""The upstream port on our own HTTP/1.1 client.

On the hot path of every request: no task, no `wait_for` and no timer for each chunk.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from surplus.serving.errors import AnswerTooLarge, UpstreamCut, UpstreamTimedOut, UpstreamUnreachable
from surplus.serving.http1.connection import Connection
from surplus.serving.http1.dial import Dialer
from surplus.serving.http1.origin import Target
from surplus.serving.http1.pool import Pool
from surplus.serving.http1.response import Response

# uvicorn, and so vLLM and SGLang, closes a connection that was idle for 5 seconds. Ours must be the first to let go:
# a request sent on a connection that is being closed fails, and a generation is not safe to repeat unasked.
KEEP_ALIVE_S: Final = 3.0
LINGER_S: Final = 0.1
_TARGETS_MAX: Final = 1024


class HttpAnswer:
    """An answer on one of our connections, whose it is until `abort` or `release`."""

    __slots__ = ("_connection", "_loop", "_pool", "_response", "_reuse", "status")

    def __init__(self, response: Response, connection: Connection, pool: Pool, *, reuse: bool) -> None:
        self._response = response
        self._connection: Connection | None = connection
        self._pool = pool
        self._reuse = reuse
        self._loop = asyncio.get_running_loop()
        self.status = response.status

    def __del__(self) -> None:
        # Of a reader that was cancelled and did not come back. A loop that is closed has closed its connections.
        if self._connection is not None and not self._loop.is_closed():
            self._connection.abort()

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def chunk(self, timeout_s: float) -> bytes:
        while True:
            data = self._take()
            if data or self._response.ended:
                return data
            connection = self._unbroken()
            try:
                await connection.wait(self._loop.time() + timeout_s)
            except TimeoutError as error:
                raise self._silent(timeout_s) from error

    async def follow(self, take: Callable[[bytes], bool], timeout_s: float) -> bool:
        while True:
            data = self._take()
            if data:
                if not take(data):
                    return True
                continue
            if self._response.ended:
                return False
            connection = self._unbroken()
            try:
                if await connection.follow(take, timeout_s):
                    return True
            except TimeoutError as error:
                raise self._silent(timeout_s) from error
            finally:
                connection.unfollow()

    def _take(self) -> bytes:
        data = self._response.take()
        if data and self._connection is not None:
            self._connection.read_on()
        return data

    def _unbroken(self) -> Connection:
        """The connection, which more may come from. Raises UpstreamCut."""
        connection = self._connection
        if self._response.error is not None or connection is None:
            self.abort()
            raise UpstreamCut("the engine's answer broke off; try again") from self._response.error
        return connection

    def _silent(self, timeout_s: float) -> UpstreamTimedOut:
        self.abort()
        return UpstreamTimedOut(f"the engine sent nothing for {timeout_s:g} s; try again")

    async def read(self, limit: int, timeout_s: float) -> bytes:
        deadline = self._loop.time() + timeout_s
        parts: list[bytes] = []
        size = 0
        try:
            while data := await self.chunk(deadline - self._loop.time()):
                size += len(data)
                if size > limit:
                    self.abort()
                    raise AnswerTooLarge(f"the engine's answer is larger than {limit} bytes; ask for less at once")
                parts.append(data)
        except UpstreamTimedOut as error:
            message = f"the engine's answer was not complete after {timeout_s:g} s; try again"
            raise UpstreamTimedOut(message) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abort(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def release(self) -> None:
        if self._reuse:
            connection, self._connection = self._connection, None
            if connection is not None:
                self._pool.release(connection)
        else:
            self.abort()


class HttpUpstream:
    """Keeps connections to engines that keep theirs, and uses a new one each time for those that do not.

    A request is sent once. Before it is sent, a connection that has ended is left aside for another, which repeats
    nothing; afterwards nobody can tell what the engine has done with it, even when not a byte came back.

    `tls` replaces the verification of certificates against the system's authorities. With a `unix` socket all requests
    go there, whatever their URL.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, keep_alive_s: float = KEEP_ALIVE_S, unix: Path | None = None
    ) -> None:
        self._pool = Pool(Dialer(tls, unix), keep_alive_s=keep_alive_s, linger_s=LINGER_S)
        self._targets: dict[tuple[str, str, str, bool], Target] = {}

    async def send(
        self,
        replica_url: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        reuse: bool,
        method: str = "POST",
    ) -> HttpAnswer:
        target = self._targets.get((method, replica_url, path, reuse)) or self._target(method, replica_url, path, reuse)
        head = target.head(headers, len(body))
        connection = self._pool.take(target.origin) if reuse else None
        if connection is None:
            connection = await self._connect(target, connect_timeout_s)
        deadline = asyncio.get_running_loop().time() + first_byte_timeout_s
        try:
            response = await connection.ask(head, body, deadline)
        except TimeoutError as error:
            message = f"the engine did not begin an answer within {first_byte_timeout_s:g} s; try again"
            raise UpstreamTimedOut(message) from error
        if not response.ready:
            raise UpstreamUnreachable("the engine could not be reached; try again") from response.error
        return HttpAnswer(response, connection, self._pool, reuse=reuse)

    @property
    def connections(self) -> int:
        """How many are open, in use or idle."""
        return self._pool.size

    async def close(self) -> None:
        await self._pool.close()

    async def _connect(self, target: Target, timeout_s: float) -> Connection:
        try:
            return await self._pool.connect(target.origin, timeout_s)
        except TimeoutError as error:
            raise UpstreamUnreachable(f"the engine took no connection within {timeout_s:g} s; try again") from error
        except (OSError, UnicodeError) as error:
            raise UpstreamUnreachable("the engine could not be reached; try again") from error

    def _target(self, method: str, url: str, path: str, reuse: bool) -> Target:  # noqa: FBT001
        if len(self._targets) >= _TARGETS_MAX:  # engines come and go, each at a port of its own
            self._targets.clear()
        try:
            target = Target(method, url + path, reuse=reuse)
        except ValueError as error:
            raise UpstreamUnreachable("the engine's URL leads nowhere; correct it") from error
        self._targets[method, url, path, reuse] = target
        return target
