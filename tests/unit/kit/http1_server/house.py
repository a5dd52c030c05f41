"""An HTTP server and its callers on bare sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from surplus.kit.clock import SystemClock
from surplus.kit.edge import Edge, Limits, Proxies, Seats, Told
from surplus.kit.edge.tls import Tls
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server import Exchange, Handler, Server

PATIENCE_S = 15
TEXT = [(b"content-type", b"text/plain")]


@dataclass
class House:
    """A server that answers with what it was sent, unless a test answers for it; `seen` is what came."""

    port: int
    stop: asyncio.Event
    server: Server
    serving: "asyncio.Task[None]"
    seen: list[Exchange] = field(default_factory=list)
    callers: "list[Caller]" = field(default_factory=list)

    async def dial(self, sent: bytes = b"", **tls: object) -> "Caller":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **tls)
        writer.write(sent)
        self.callers.append(Caller(reader, writer))
        return self.callers[-1]


@dataclass
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self, *, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """One answer with a content-length, or in chunks."""
        async with asyncio.timeout(PATIENCE_S):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = b""
            if bodiless:
                pass
            elif headers.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, body

    async def rest(self) -> bytes:
        """All until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


async def echo(exchange: Exchange) -> None:
    body = b""
    while data := await exchange.receive():
        body += data
    exchange.start(200, TEXT, exchange.head.path.encode() + b" " + body, more=False)


def _tell(path: str, error: SurplusError) -> Told:
    return Told([(b"x-path", path.encode())], error.message.encode())


@asynccontextmanager
async def served(
    handle: Handler = echo, *, drain_s: float = 5, tls: Tls | None = None, **limits: float
) -> AsyncIterator[House]:
    seen: list[Exchange] = []

    async def noted(exchange: Exchange) -> None:
        seen.append(exchange)
        await handle(exchange)

    stop = asyncio.Event()
    allowed = Limits(**limits)
    edge = Edge(
        limits=allowed, seats=Seats(allowed), proxies=Proxies(), tls=tls, tell=_tell, refused=lambda error: None
    )
    server = Server(SystemClock(), edge, drain_s=drain_s)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        serving = asyncio.create_task(server.serve(noted, sock, stop))
        house = House(sock.getsockname()[1], stop, server, serving, seen)
        try:
            yield house
        finally:
            stop.set()
            for caller in house.callers:
                caller.writer.transport.abort()
            await serving
            await asyncio.gather(*(caller.writer.wait_closed() for caller in house.callers), return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.002)


def get(path: str = "/a", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: here\r\n{more}\r\n".encode()


def post(body: bytes, more: str = "") -> bytes:
    return f"POST /p HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body
