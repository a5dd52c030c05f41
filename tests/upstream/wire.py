"""HTTP/1.1 by hand: requests in through httptools, replies out step by step, however wrong the steps are."""

import asyncio
import contextlib
import http.client
import socket
import struct
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import httptools

from tests.upstream.record import Outcome, Seen
from tests.upstream.reply import Body, End, Ending, Event, Generate, Head, Hold, Pause, Prefill, Reply, Step

_READ_SIZE = 65_536
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass
class RawRequest:
    """One request as read from the wire; ``headers`` has lower-case names."""

    method: str = ""
    target: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = True


class RequestParser:
    """Callbacks for httptools; whole requests go to a queue."""

    def __init__(self, requests: "asyncio.Queue[RawRequest | None]") -> None:
        self._requests = requests
        self._request = RawRequest()
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._request = RawRequest()

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._request.body += body

    def on_message_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        self._request.keep_alive = self._parser.should_keep_alive()
        self._requests.put_nowait(self._request)


class Connection:
    """One TCP connection. It always reads, so that it knows at once when the peer leaves."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer
        # With no room in the buffer, a drain returns when the kernel has every byte.
        writer.transport.set_write_buffer_limits(high=0)
        self._gone = asyncio.Event()
        self._requests: asyncio.Queue[RawRequest | None] = asyncio.Queue()
        self._open = True
        self._chunked = False

    async def requests(self) -> AsyncGenerator[RawRequest]:
        """Requests until either side closes. Raises ``httptools.HttpParserError`` when the peer speaks no HTTP."""
        reading = asyncio.create_task(self._read())
        try:
            while self._open and (request := await self._requests.get()) is not None:
                self._open = request.keep_alive
                yield request
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def close(self) -> None:
        """FIN after what is still to be sent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Drop the connection and whatever is unsent; does nothing to a closed one."""
        self._writer.transport.abort()

    async def play(self, reply: Reply, seen: Seen) -> None:
        """Write a reply and record what came of it."""
        self._chunked = False
        for step in reply.steps:
            # Nothing may come between the last part and the end: who has read the last byte finds the record closed,
            # and a peer that closes on the last event has not gone away early.
            if not isinstance(step, End):
                await self._yield()
                if self._gone.is_set():
                    break
            try:
                await self._play_step(step, reply, seen)
            except ConnectionError:
                break
        if not seen.ended.is_set():
            self._open = False
            seen.end(Outcome.ABANDONED)

    async def _play_step(self, step: Step, reply: Reply, seen: Seen) -> None:
        match step:
            case Prefill():
                seen.prompt_read = True
            case Generate(tokens):
                seen.generated_tokens += tokens
            case Hold(gate):
                seen.holding.set()
                await self._wait(gate or seen.released)
            case Pause(seconds):
                await self._wait(seconds=seconds)
            case Head():
                await self._write(self._head(step, reply, seen))
            case End(how):
                await self._end(how, seen)
            case _:
                await self._write_part(step, seen)

    def _head(self, head: Head, reply: Reply, seen: Seen) -> bytes:
        length = reply.content_length()
        self._chunked = length is None
        framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
        headers = (("content-type", head.content_type), ("x-request-id", f"req-{seen.id}"), framing, *head.headers)
        lines = [f"HTTP/1.1 {head.status} {http.client.responses.get(head.status, 'Unassigned')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join((*lines, "", "")).encode()

    async def _write_part(self, part: Event | Body, seen: Seen) -> None:
        made = part.tokens if isinstance(part, Event) else 0
        seen.generated_tokens += made
        data = part.encode()
        pieces = [data[at : at + 1] for at in range(len(data))] if part.split else [data]
        for at, piece in enumerate(pieces):
            if at:
                await self._yield()
            await self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        if part.whole:
            seen.sent_tokens += made if isinstance(part, Event) else seen.generated_tokens
        seen.sent_events += part.count if isinstance(part, Event) else 0

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _yield(self) -> None:
        """Two turns of the loop: a peer that lives in it reads the last write alone, and we see it leave."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _end(self, how: Ending, seen: Seen) -> None:
        if how is Ending.COMPLETE:
            if self._chunked:
                self._writer.write(b"0\r\n\r\n")
            seen.end(Outcome.ANSWERED)
            return
        self._open = False
        if how is Ending.RST:
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.abort()
        else:
            self._writer.close()
        seen.end(Outcome.BROKEN)

    async def _wait(self, gate: asyncio.Event | None = None, seconds: float | None = None) -> None:
        """Until the gate opens, the time is up, or the peer leaves."""
        awaited = (self._gone,) if gate is None else (self._gone, gate)
        waits = [asyncio.create_task(event.wait()) for event in awaited]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _read(self) -> None:
        parser = RequestParser(self._requests)
        try:
            with contextlib.suppress(ConnectionError):
                while data := await self._reader.read(_READ_SIZE):
                    parser.feed(data)
        finally:
            self._gone.set()
            self._requests.put_nowait(None)
