"""What our own HTTP client does beyond the contract of its port."""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator

import pytest

from surplus.serving.errors import UpstreamCut, UpstreamTimedOut, UpstreamUnreachable
from surplus.serving.http1.connection import HELD_MAX, Connection
from surplus.serving.http1.origin import Origin
from surplus.serving.upstream_http import KEEP_ALIVE_S, HttpUpstream
from tests.contract.scripted import CHUNKED_HEAD, LAST_CHUNK, Peer, ScriptedServer, chunk, whole
from tests.contract.test_upstream_connections import keep_answering
from tests.contract.test_upstream_contract import SOON_S, post, rest, settle
from tests.contract.test_upstream_reuse import ask


@pytest.fixture
async def upstream() -> AsyncIterator[HttpUpstream]:
    adapter = HttpUpstream()
    yield adapter
    await adapter.close()


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"data"))
        await peer.gone()
        closed.set()

    upstream = HttpUpstream(keep_alive_s=0.05)
    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        assert await ask(upstream, server) == b"data"
        await closed.wait()
        assert not upstream._pool._open
        assert not upstream._pool._idle
    await upstream.close()


async def test_an_idle_connection_that_is_too_old_is_not_used() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"data"))
        await peer.gone()

    upstream = HttpUpstream(keep_alive_s=0.0)
    async with ScriptedServer(script) as server:
        assert await ask(upstream, server) == b"data"
        assert await ask(upstream, server) == b"data"
        assert server.connections == 2
    await upstream.close()


async def test_the_connection_used_last_is_used_next(upstream: HttpUpstream) -> None:
    numbers = iter(range(10))

    async def script(peer: Peer) -> None:
        number = next(numbers)
        while True:
            await peer.request()
            await peer.send(whole(b"%d" % number))

    async with ScriptedServer(script) as server:
        answers = [await post(upstream, server.url) for _ in range(3)]
        assert [await each.read(9, SOON_S) for each in answers] == [b"0", b"1", b"2"]
        for index in (0, 2, 1):
            answers[index].release()
        for _ in range(3):
            assert await ask(upstream, server) == b"1"


async def test_a_kept_connection_that_became_too_old_is_closed(upstream: HttpUpstream) -> None:
    async with ScriptedServer(keep_answering) as server:
        await ask(upstream, server)
        (old,) = upstream._pool._open
        old.idle_since -= 2 * KEEP_ALIVE_S
        await ask(upstream, server)
        assert server.connections == 2
        assert not old.alive


async def test_an_answer_that_was_kept_whole_but_not_read_keeps_its_connection(upstream: HttpUpstream) -> None:
    body = bytes(HELD_MAX + 30_000)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(whole(body))

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        for _ in range(3):
            answer = await post(upstream, server.url)
            (connection,) = upstream._pool._open
            while not (connection.response is None or connection.response.ended):
                await settle()
            answer.release()
            assert connection._transport.is_reading()
        assert server.connections == 1


@pytest.mark.parametrize("end", ["abort", "release"])
async def test_a_connection_that_is_gone_is_forgotten(upstream: HttpUpstream, end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"data", more="Connection: close\r\n"))
        await peer.gone()

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        (connection,) = upstream._pool._open
        getattr(answer, end)()
        assert not connection.alive
        left = weakref.ref(connection)
        del connection
        while left() is not None:
            await settle()
            gc.collect()
        assert not upstream._pool._open


async def test_a_connection_that_ended_before_its_first_request_says_so() -> None:
    ends: list[Connection] = []
    async with ScriptedServer(keep_answering) as server:
        origin = Origin(tls=False, host="127.0.0.1", port=server.port)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(origin, lost=ends.append, settled=ends.append), "127.0.0.1", server.port
        )
        connection.abort()
        while not ends:
            await settle()
        response = await connection.ask(b"GET / HTTP/1.1\r\n\r\n", b"", loop.time() + SOON_S)
        assert not response.ready
        assert isinstance(response.error, ConnectionError)


async def test_an_end_that_the_loop_has_not_seen_yet_is_seen(upstream: HttpUpstream) -> None:
    """A blocking server in this very thread, so that the loop has no time to notice."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for _ in range(2):
            sending = asyncio.create_task(post(upstream, url))
            accepted, _ = await asyncio.to_thread(listener.accept)
            with accepted as peer:
                await asyncio.to_thread(peer.recv, 65536)
                peer.sendall(whole(b"data"))
                answer = await sending
                assert await answer.read(10, SOON_S) == b"data"
                answer.release()


async def test_the_end_of_a_body_may_come_a_moment_after_it_is_given_back(upstream: HttpUpstream) -> None:
    go_on: asyncio.Queue[None] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"))
            await go_on.get()
            await peer.send(LAST_CHUNK)

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        for _ in range(3):
            answer = await post(upstream, server.url)
            assert await answer.chunk(SOON_S) == b"data: [DONE]\n\n"
            answer.release()
            with pytest.raises(UpstreamCut):
                await answer.chunk(SOON_S)
            (connection,) = upstream._pool._open
            go_on.put_nowait(None)
            while connection.response is not None:
                await settle()
            assert server.connections == 1


async def test_an_answer_with_unread_bytes_is_dropped_at_once(upstream: HttpUpstream) -> None:
    dropped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data"))
        await peer.gone()
        dropped.set()

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        answer = await post(upstream, server.url)
        answer.release()
        (connection,) = upstream._pool._open
        assert not connection.alive
        await dropped.wait()


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_a_reader_that_does_not_read_holds_the_server_up(upstream: HttpUpstream, framing: str) -> None:
    size = 32 * 1024 * 1024
    heads = {
        "chunked": CHUNKED_HEAD + b"%x\r\n" % size,
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size,
        "close": b"HTTP/1.1 200 OK\r\n\r\n",
    }

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(heads[framing] + bytes(size))
        if framing == "chunked":
            await peer.send(b"\r\n" + LAST_CHUNK)

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        answer = await post(upstream, server.url)
        (connection,) = upstream._pool._open
        while connection._transport.is_reading():
            await settle()
        await settle()
        assert HELD_MAX < answer._response.held < 2 * HELD_MAX + 4096  # type: ignore[attr-defined]
        assert len(await rest(answer)) == size


async def test_a_wait_ends_in_time_whatever_the_waits_before_it(upstream: HttpUpstream) -> None:
    """All waits of a connection share one timer."""
    go_on: asyncio.Queue[None] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(CHUNKED_HEAD)
            for _ in range(3):
                await go_on.get()
                await asyncio.sleep(0.05)
                await peer.send(chunk(b"."))
            await peer.gone()

    loop = asyncio.get_running_loop()
    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url, first_byte_timeout_s=600.0)
        for timeout_s in (300.0, 0.2, 300.0):
            go_on.put_nowait(None)
            assert await answer.chunk(timeout_s) == b"."
        began = loop.time()
        with pytest.raises(UpstreamTimedOut):
            await answer.chunk(0.1)
        assert 0.09 < loop.time() - began < 2.0


async def test_a_long_wait_outlives_the_timer_of_a_short_one(upstream: HttpUpstream) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        await go_on.wait()
        await peer.send(chunk(b"one"))
        await asyncio.sleep(0.3)
        await peer.send(chunk(b"two"))
        await peer.gone()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        reading = asyncio.create_task(answer.chunk(0.2))
        await settle()
        go_on.set()
        assert await reading == b"one"
        assert await answer.chunk(SOON_S) == b"two"


async def test_the_name_localhost_and_an_ipv6_address(upstream: HttpUpstream) -> None:
    hosts: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        hosts.append(peer.headers["host"])
        await peer.send(whole(b"data"))

    async with ScriptedServer(script) as server:
        server.root = f"http://localhost:{server.port}"
        assert await ask(upstream, server) == b"data"
        assert hosts.pop() == f"localhost:{server.port}"
    try:
        async with ScriptedServer(script, host="::1") as server:
            assert await ask(upstream, server) == b"data"
            assert hosts.pop() == f"[::1]:{server.port}"
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "http:///v1", "http://[::1/v1", "http://a..b/v1", "nonsense"])
async def test_a_url_that_leads_nowhere(upstream: HttpUpstream, url: str) -> None:
    with pytest.raises(UpstreamUnreachable):
        await post(upstream, url)


async def test_a_closed_upstream_has_no_connections_and_makes_none(upstream: HttpUpstream) -> None:
    gone = 0

    async def script(peer: Peer) -> None:
        nonlocal gone
        await peer.request()
        await peer.send(whole(b"data"))
        await peer.gone()
        gone += 1

    async with ScriptedServer(script) as server, asyncio.timeout(SOON_S):
        answers = [await post(upstream, server.url) for _ in range(3)]
        for answer in answers[:2]:
            await answer.read(10, SOON_S)
            answer.release()
        await upstream.close()
        assert not upstream._pool._open
        while gone < 3:
            await settle()
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, server.url)
        await upstream.close()


async def test_targets_are_forgotten_when_there_are_too_many(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(whole(b"data"))

    async with ScriptedServer(script) as server:
        for number in range(1100):
            (await post(upstream, f"{server.root}/{number}/v1")).release()
        assert len(upstream._targets) < 1100
        assert server.connections == 1
