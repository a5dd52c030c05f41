"""A caller on a bare socket, who sees each write of the upstream and how the connection ended."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.upstream.server import FaultyUpstream

MESSAGES = [{"role": "user", "content": "Where is the café?"}]
_PATIENCE_S = 10


@dataclass(eq=False)
class Heard(asyncio.Protocol):
    """What came over one connection; ``pieces`` are the reads, ``reset`` is None while it is open."""

    pieces: list[bytes] = field(default_factory=list)
    reset: bool | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reset = isinstance(exc, ConnectionResetError)
        self._changed.set()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def leave(self, *, reset: bool = False) -> None:
        """Close with a FIN, or with a reset."""
        if reset:
            linger_zero = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        self._transport.close()

    async def closed(self) -> "Heard":
        await self._until(lambda: self.reset is not None)
        return self

    async def has(self, text: bytes) -> None:
        """Wait until the bytes heard so far hold a text."""
        await self._until(lambda: text in self.raw)

    @property
    def address(self) -> tuple[str, int]:
        """Our end of the connection."""
        return self._transport.get_extra_info("sockname")[:2]

    @property
    def raw(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def header(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b": ")
            if key.decode() == name:
                return value.decode()
        return None

    @property
    def chunks(self) -> list[bytes]:
        """The HTTP chunks that came whole, the empty last one included."""
        rest = self.raw.partition(b"\r\n\r\n")[2]
        found: list[bytes] = []
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            found.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return found

    @property
    def complete(self) -> bool:
        """Whether HTTP says that the message is whole."""
        if self.header("transfer-encoding") == "chunked":
            return self.raw.endswith(b"0\r\n\r\n")
        return self.header("content-length") == str(len(self.body))

    @property
    def body(self) -> bytes:
        if self.header("transfer-encoding") == "chunked":
            return b"".join(self.chunks)
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each SSE event: parsed JSON, or the text where it is none."""
        lines = self.body.decode().replace("\r\n", "\n").split("\n")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(item) if item.startswith("{") else item for item in data]

    async def _until(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not ready():
                self._changed.clear()
                await self._changed.wait()


def request(path: str, body: dict[str, Any] | None, method: str = "POST") -> bytes:
    raw = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: upstream\r\nconnection: close\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def chat_body(stream: bool = True, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "tiny-chat", "messages": MESSAGES, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return {**body, **fields}


@asynccontextmanager
async def dialled(upstream: FaultyUpstream, sent: bytes) -> AsyncGenerator[Heard]:
    """A connection on which ``sent`` was sent; closed at the end."""
    _, heard = await asyncio.get_running_loop().create_connection(Heard, "127.0.0.1", upstream.port)
    heard.send(sent)
    try:
        yield heard
    finally:
        heard.leave()
        await heard.closed()


async def chat(upstream: FaultyUpstream, stream: bool = True, **fields: Any) -> Heard:
    """One chat completion, heard to the end of the connection."""
    async with dialled(upstream, request("/v1/chat/completions", chat_body(stream, **fields))) as heard:
        return await heard.closed()


async def said(upstream: FaultyUpstream, text: str, stream: bool = True, **fields: Any) -> Heard:
    """One chat completion with this user message."""
    return await chat(upstream, stream, messages=[{"role": "user", "content": text}], **fields)
