"""What every adapter of the upstream port does with its connections: keep, give back, drop."""

import asyncio

import pytest

from surplus.serving.errors import UpstreamCut
from surplus.serving.upstream import Upstream
from tests.contract.scripted import CHUNKED_HEAD, LAST_CHUNK, Peer, ScriptedServer, chunk, whole
from tests.contract.test_upstream_contract import SOON_S, post, rest, settle, upstream

__all__ = ["upstream"]


async def keep_answering(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data") + LAST_CHUNK)


async def test_a_connection_is_used_again_after_a_whole_answer(upstream: Upstream) -> None:
    async with ScriptedServer(keep_answering) as server:
        for _ in range(3):
            answer = await post(upstream, server.url)
            assert await rest(answer) == b"data"
            answer.release()
        assert server.connections == 1


async def test_without_reuse_every_request_has_its_own_connection_and_says_so(upstream: Upstream) -> None:
    closed: asyncio.Queue[Peer] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data") + LAST_CHUNK)
        await peer.gone()
        closed.put_nowait(peer)

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        for _ in range(3):
            answer = await post(upstream, server.url, reuse=False)
            assert await rest(answer) == b"data"
            answer.release()
            peer = await closed.get()
            assert peer.headers["connection"] == "close"
        assert server.connections == 3


@pytest.mark.parametrize("end", ["abort", "release"])
async def test_an_unfinished_answer_drops_its_connection(upstream: Upstream, end: str) -> None:
    dropped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data"))
        await peer.gone()
        dropped.set()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        getattr(answer, end)()
        async with asyncio.timeout(SOON_S):
            await dropped.wait()
        again = await post(upstream, server.url)
        again.abort()
        assert server.connections == 2


async def test_aborting_is_harmless_at_any_time(upstream: Upstream) -> None:
    async with ScriptedServer(keep_answering) as server:
        answer = await post(upstream, server.url)
        assert await rest(answer) == b"data"
        answer.release()
        answer.abort()
        answer.abort()
        unread = await post(upstream, server.url)
        unread.abort()
        unread.abort()
        unread.release()
        with pytest.raises(UpstreamCut):
            await rest(unread)


async def test_a_reader_that_is_cancelled_can_abort(upstream: Upstream) -> None:
    dropped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        await peer.gone()
        dropped.set()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        reading = asyncio.create_task(answer.chunk(SOON_S))
        await settle()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        answer.abort()
        async with asyncio.timeout(SOON_S):
            await dropped.wait()


async def test_a_sender_that_is_cancelled_drops_its_connection(upstream: Upstream) -> None:
    arrived, dropped = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.gone()
        dropped.set()

    async with ScriptedServer(script) as server:
        sending = asyncio.create_task(post(upstream, server.url))
        async with asyncio.timeout(SOON_S):
            await arrived.wait()
            sending.cancel()
            await dropped.wait()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_many_requests_at_once_do_not_wait_for_each_other(upstream: Upstream) -> None:
    arrived = 0
    all_here = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal arrived
        await peer.request()
        arrived += 1
        if arrived == 200:
            all_here.set()
        await all_here.wait()
        await peer.send(whole(b"ok"))

    async def one(server: ScriptedServer) -> bytes:
        answer = await post(upstream, server.url)
        body = await answer.read(10, SOON_S)
        answer.release()
        return body

    async with ScriptedServer(script) as server, asyncio.timeout(20):
        assert await asyncio.gather(*(one(server) for _ in range(200))) == [b"ok"] * 200


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_a_slow_reader_of_a_large_answer_misses_nothing(upstream: Upstream, framing: str) -> None:
    body = bytes(range(256)) * 4 * 4096
    heads = {
        "chunked": CHUNKED_HEAD,
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body),
        "close": b"HTTP/1.1 200 OK\r\n\r\n",
    }

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(heads[framing])
        for start in range(0, len(body), 50_000):
            piece = body[start : start + 50_000]
            await peer.send(chunk(piece) if framing == "chunked" else piece)
        if framing == "chunked":
            await peer.send(LAST_CHUNK)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        parts = []
        while data := await answer.chunk(SOON_S):
            parts.append(data)
            await settle()
        assert b"".join(parts) == body


@pytest.mark.parametrize("waiting", [False, True])
async def test_closing_the_upstream_cuts_answers_in_progress(upstream: Upstream, waiting: bool) -> None:
    dropped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data"))
        await peer.gone()
        dropped.set()

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        reading = asyncio.create_task(answer.chunk(10 * SOON_S))
        if waiting:
            await settle()
        await upstream.close()
        await dropped.wait()
        with pytest.raises(UpstreamCut):
            await reading
