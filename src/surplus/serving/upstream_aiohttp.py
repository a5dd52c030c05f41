"""The upstream port on aiohttp's client.

On the hot path of every request: no task and no `wait_for` per chunk, one timer where a reader really waits.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from typing import Final, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from surplus.serving.errors import AnswerTooLarge, UpstreamCut, UpstreamTimedOut, UpstreamUnreachable

# uvicorn, and so vLLM and SGLang, closes a connection that was idle for 5 seconds. Ours must be the first to let go:
# a request sent on a connection that is being closed fails, and a generation is not safe to repeat unasked.
KEEP_ALIVE_S: Final = 3.0
PIECE: Final = 256 * 1024
_WHOLE_MAX: Final = 1024 * 1024  # aiohttp warns about larger bodies in one piece, and the loop would stand still
_AUTO_HEADERS: Final = ("accept", "accept-encoding", "content-type", "user-agent")
_BROKEN: Final = (aiohttp.ClientError, OSError)


class AiohttpAnswer:
    """An answer on aiohttp's response."""

    __slots__ = ("_content", "_loop", "_protocol", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._content = response.content
        self._loop = asyncio.get_running_loop()
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._protocol = None
        if "content-length" not in self.headers and "transfer-encoding" not in self.headers:
            connection = response.connection
            self._protocol = None if connection is None else connection.protocol

    async def chunk(self, timeout_s: float) -> bytes:
        content = self._content
        try:
            data = content.read_nowait()
            if data:
                return data
            if not content.at_eof():
                data = await self._wait(timeout_s)
        except _BROKEN as error:
            return self._rest_before(error)
        if not data:
            self._check_end()
        return data

    async def _wait(self, timeout_s: float) -> bytes:
        timer = self._loop.call_later(timeout_s, self._content.set_exception, _Silence(timeout_s))
        try:
            return await self._content.readany()
        finally:
            timer.cancel()

    def _rest_before(self, error: Exception) -> bytes:
        """What had arrived before `error`, which aiohttp would drop; raises the error when there is nothing left."""
        rest = self._content._read_nowait(-1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  see above
        if rest:
            return rest
        self.abort()
        if isinstance(error, _Silence):
            raise UpstreamTimedOut(f"the engine sent nothing for {error.seconds:g} s; try again") from error
        raise UpstreamCut("the engine's answer broke off; try again") from error

    def _check_end(self) -> None:
        """An answer of unstated length ends with its connection, and aiohttp takes a reset for its end."""
        error = None if self._protocol is None else self._protocol.exception()
        if isinstance(error, aiohttp.ClientOSError):
            raise UpstreamCut("the engine's answer broke off; try again") from error

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
        self._response.close()

    def release(self) -> None:
        self._response.release()


class _Silence(aiohttp.ClientError):
    """Our own timer ended a wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class _Handler(ResponseHandler):
    """aiohttp's end of a connection, which otherwise leaves the reader of an answer waiting in two cases."""

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Also when bytes in the middle of an answer are not HTTP."""
        self._tell_reader(exc)
        if exc_cause is None:
            super().set_exception(exc)
        else:
            super().set_exception(exc, exc_cause)

    def close(self) -> None:
        """Also when the whole session is closed."""
        self._tell_reader(None)
        super().close()

    def _tell_reader(self, error: BaseException | None) -> None:
        answer = self._payload
        if answer is not None and not answer.is_eof() and answer.exception() is None:
            answer.set_exception(aiohttp.ClientPayloadError(repr(error)))


class _Connector(aiohttp.TCPConnector):
    def with_handler(self) -> Self:
        """Make connections whose end is a _Handler."""
        self._factory = functools.partial(_Handler, loop=self._loop)
        return self


class AiohttpUpstream:
    """Keeps connections to engines that keep theirs, and uses a new one each time for those that do not."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

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
    ) -> AiohttpAnswer:
        session = self._sessions.get(reuse) or self._open(reuse=reuse)
        data = body if len(body) <= _WHOLE_MAX else _pieces(body)
        if data is not body:
            headers = {**headers, "content-length": str(len(body))}
        try:
            async with asyncio.timeout(connect_timeout_s + first_byte_timeout_s):
                response = await session.request(
                    method,
                    URL(replica_url + path, encoded=True),
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
                )
        except aiohttp.ConnectionTimeoutError as error:
            message = f"the engine took no connection within {connect_timeout_s:g} s; try again"
            raise UpstreamUnreachable(message) from error
        except TimeoutError as error:
            message = f"the engine did not begin an answer within {first_byte_timeout_s:g} s; try again"
            raise UpstreamTimedOut(message) from error
        except _BROKEN as error:
            raise UpstreamUnreachable("the engine could not be reached; try again") from error
        return AiohttpAnswer(response)

    def _open(self, *, reuse: bool) -> aiohttp.ClientSession:
        """A session has to be made where the loop runs, so it is made at its first use."""
        if reuse:
            connector = _Connector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        else:
            connector = _Connector(limit=0, force_close=True)
        session = self._sessions[reuse] = aiohttp.ClientSession(
            connector=connector.with_handler(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AUTO_HEADERS,
        )
        return session

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
