"""A raw TCP server whose every byte is a test's own, for what no well-behaved HTTP server can be made to do."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.head = b""
        self.body = b""

    @property
    def header_names(self) -> set[str]:
        """Lower-case names of the last request's fields."""
        return set(self.headers)

    @property
    def headers(self) -> dict[str, str]:
        """The last request's fields by lower-case name."""
        pairs = (line.split(b": ", 1) for line in self.head.split(b"\r\n")[1:] if line)
        return {name.decode().lower(): value.decode() for name, value in pairs}

    async def request(self) -> None:
        """Read one request into `head` and `body`."""
        await self.head_only()
        await self.rest_of_body()

    async def head_only(self) -> None:
        self.head = await self._reader.readuntil(b"\r\n\r\n")

    async def rest_of_body(self) -> None:
        self.body = await self._reader.readexactly(int(self.headers.get("content-length", "0")))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def abort(self) -> None:
        """End the connection with a bare FIN: over TLS, without a word of it."""
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has ended the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    def close(self) -> None:
        self._writer.close()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedServer:
    """Runs the script for every connection, and closes it when the script is over."""

    def __init__(self, script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._host = host
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.port = 0
        self.root = ""

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(reader, writer)
        # A task of our own: the one that runs this callback logs an error when it is cancelled.
        task = asyncio.create_task(self._run(peer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, peer: Peer) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(peer)
        finally:
            peer.close()

    async def listen(self, port: int = 0) -> None:
        """Take connections on this port, or on a free one."""
        self._server = await asyncio.start_server(self._serve, self._host, port, ssl=self._tls)
        host, self.port = self._server.sockets[0].getsockname()[:2]
        self.root = f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        running = list(self._running)
        for task in running:
            task.cancel()
        results = await asyncio.gather(*running, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result  # a script that failed is a test that failed


def whole(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    """A plain answer with a Content-Length."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
