"""What every adapter of the upstream port does when it is sent what nobody should send."""

import asyncio

import pytest

from surplus.serving.errors import UpstreamCut, UpstreamTimedOut, UpstreamUnreachable
from surplus.serving.upstream import Upstream
from tests.contract.scripted import CHUNKED_HEAD, LAST_CHUNK, Peer, ScriptedServer, chunk, whole
from tests.contract.test_upstream_contract import SOON_S, post, rest, upstream

__all__ = ["upstream"]

FILLER = b"a" * 1000
LARGE = bytes(64 * 1024 * 1024)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", FILLER),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: a\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
async def test_a_head_has_a_limit(upstream: Upstream, start: bytes, more: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while True:
            await peer.send(more)

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, server.url)


@pytest.mark.parametrize(
    ("start", "more"), [(b"0\r\nX-Trailer: ", FILLER), (b"0\r\n", b"X-Many: a\r\n"), (b"5;x=", FILLER)]
)
async def test_what_is_sent_beside_a_body_has_a_limit(upstream: Upstream, start: bytes, more: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data") + start)
        while True:
            await peer.send(more)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        with pytest.raises(UpstreamCut):
            await answer.chunk(SOON_S)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
    ],
)
async def test_a_head_that_says_two_things_or_none(upstream: Upstream, head: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head)
        await peer.gone()

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, server.url)


async def test_trailers_and_interim_answers_are_no_headers(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        await peer.send(CHUNKED_HEAD + chunk(b"data") + b"0\r\nX-Late: 1\r\nContent-Type: text/plain\r\n\r\n")
        await peer.gone()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await rest(answer) == b"data"
        assert dict(answer.headers) == {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        answer.release()


async def test_of_a_repeated_header_the_last_counts(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"", more="x-a: 1\r\nX-A:  2 \r\nx-a: 3\t\r\nX-B:\r\nX-C: \xe9\r\n"))

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert answer.headers["x-a"] == "3"
        assert answer.headers["x-b"] == ""
        answer.release()


async def test_a_refusal_comes_through_although_the_body_is_not_taken(upstream: Upstream) -> None:
    forever = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head_only()
        await peer.send(whole(b"too large", "413 Content Too Large", "Connection: close\r\n"))
        await forever.wait()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url, body=LARGE)
        assert answer.status == 413
        assert await answer.read(100, SOON_S) == b"too large"
        answer.release()


async def test_a_body_that_is_never_taken_times_out(upstream: Upstream) -> None:
    forever = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head_only()
        await forever.wait()

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamTimedOut):
            await post(upstream, server.url, body=LARGE, connect_timeout_s=0.1, first_byte_timeout_s=0.1)


async def test_a_reset_while_a_body_is_sent(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.head_only()
        peer.reset()

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, server.url, body=LARGE)
        assert server.connections == 1


async def test_a_stream_may_begin_before_the_body_is_there(upstream: Upstream) -> None:
    size = 16 * 1024 * 1024

    async def script(peer: Peer) -> None:
        await peer.head_only()
        await peer.send(CHUNKED_HEAD + chunk(b"listening"))
        await peer.rest_of_body()
        await peer.send(chunk(b"%d" % len(peer.body)) + LAST_CHUNK)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url, body=bytes(size))
        assert await rest(answer) == b"listening%d" % size
        answer.release()


async def test_a_dribbled_head_has_no_more_time_than_a_late_one(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            await peer.send(b".")
            await asyncio.sleep(0.01)

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamTimedOut):
            await post(upstream, server.url, connect_timeout_s=0.1, first_byte_timeout_s=0.1)


async def test_a_post_without_a_body_says_so(upstream: Upstream) -> None:
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        seen.append(peer)
        await peer.send(whole(b""))

    async with ScriptedServer(script) as server:
        (await post(upstream, server.url, body=b"")).release()
    assert seen[0].headers["content-length"] == "0"
