"""What every adapter of the upstream port does, against a server that misbehaves on purpose."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator

import pytest

from surplus.serving.errors import AnswerTooLarge, UpstreamCut, UpstreamTimedOut, UpstreamUnreachable
from surplus.serving.upstream import Answer, Upstream
from surplus.serving.upstream_http import HttpUpstream
from tests.contract.scripted import CHUNKED_HEAD, LAST_CHUNK, Peer, ScriptedServer, chunk, whole

SOON_S = 5.0


@pytest.fixture(params=[HttpUpstream])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    adapter: Upstream = request.param()
    yield adapter
    await adapter.close()


async def post(upstream: Upstream, url: str, **changes: object) -> Answer:
    arguments: dict[str, object] = {
        "headers": {"content-type": "application/json"},
        "body": b"{}",
        "connect_timeout_s": SOON_S,
        "first_byte_timeout_s": SOON_S,
        "reuse": True,
        **changes,
    }
    return await upstream.send(url, "/chat/completions", **arguments)  # type: ignore[arg-type]


async def rest(answer: Answer) -> bytes:
    parts = []
    while data := await answer.chunk(SOON_S):
        parts.append(data)
    return b"".join(parts)


async def settle() -> None:
    """Let everything that has been sent so far arrive."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_an_answer_has_status_lower_case_headers_and_body(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b'{"a":1}', "418 I'm a teapot", "X-Request-ID: 7\r\n"))

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert answer.status == 418
        assert answer.headers["x-request-id"] == "7"
        assert await answer.read(1000, SOON_S) == b'{"a":1}'
        answer.release()


async def test_the_request_goes_out_as_it_was_given(upstream: Upstream) -> None:
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        seen.append(peer)
        await peer.send(whole(b""))

    async with ScriptedServer(script) as server:
        headers = {"authorization": "Bearer k", "content-type": "application/json"}
        answer = await post(upstream, server.url, headers=headers, body=b'{"model":"m"}')
        answer.release()
    assert seen[0].head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert seen[0].body == b'{"model":"m"}'
    assert seen[0].header_names == {"host", "content-length", "authorization", "content-type"}


async def test_a_get_has_no_body(upstream: Upstream) -> None:
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        seen.append(peer)
        await peer.send(whole(b""))

    async with ScriptedServer(script) as server:
        (await post(upstream, server.url, method="GET", headers={}, body=b"")).release()
    assert seen[0].head.startswith(b"GET ")
    assert seen[0].header_names <= {"host", "content-length"}
    assert seen[0].headers.get("content-length", "0") == "0"


async def test_a_body_of_megabytes_arrives_whole(upstream: Upstream) -> None:
    body = bytes(range(256)) * 4 * 3000
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        seen.append(peer)
        await peer.send(whole(b"ok"))

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url, body=body)
        assert await answer.read(10, SOON_S) == b"ok"
    assert seen[0].body == body
    assert "transfer-encoding" not in seen[0].header_names


async def test_bytes_come_as_soon_as_they_are_there(upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"one"))
        await go_on.wait()
        await peer.send(chunk(b"two") + LAST_CHUNK)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"one"
        go_on.set()
        assert await rest(answer) == b"two"
        assert await answer.chunk(SOON_S) == b""
        answer.release()


@pytest.mark.parametrize(
    "sent",
    [
        CHUNKED_HEAD + chunk(b"data") + LAST_CHUNK,
        whole(b"data"),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata",
        b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"data"),
    ],
)
async def test_a_clean_end_is_an_empty_chunk(upstream: Upstream, sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await rest(answer) == b"data"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_without_a_body_ends_at_once(upstream: Upstream, status: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 {status}\r\n\r\n".encode())
        await peer.gone()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b""
        answer.abort()


CUT_SHORT = [
    CHUNKED_HEAD + chunk(b"data"),
    CHUNKED_HEAD + b"8\r\ndata",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndata",
]


@pytest.mark.parametrize("slow_reader", [False, True])
@pytest.mark.parametrize("sent", CUT_SHORT)
async def test_a_cut_is_raised_after_the_bytes_before_it(upstream: Upstream, sent: bytes, slow_reader: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        if slow_reader:
            await settle()
        assert await answer.chunk(SOON_S) == b"data"
        with pytest.raises(UpstreamCut):
            await answer.chunk(SOON_S)


@pytest.mark.parametrize("sent", [*CUT_SHORT, b"HTTP/1.1 200 OK\r\n\r\ndata"])
async def test_a_reset_is_a_cut(upstream: Upstream, sent: bytes) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await read.wait()
        peer.reset()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        read.set()
        with pytest.raises(UpstreamCut):
            await answer.chunk(SOON_S)


async def test_a_malformed_chunk_is_a_cut(upstream: Upstream) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data"))
        await read.wait()
        await peer.send(chunk(b"more") + b"zz\r\nwhat?\r\n")
        await peer.gone()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        read.set()
        with pytest.raises(UpstreamCut):
            await rest(answer)


async def test_silence_times_out(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data"))
        await peer.gone()

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        with pytest.raises(UpstreamTimedOut):
            await answer.chunk(0.05)


async def test_a_dribble_is_no_silence_but_reading_it_whole_has_a_limit(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        while True:
            await peer.send(chunk(b"."))
            await asyncio.sleep(0.02)

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 0.3:
            assert await answer.chunk(0.2)
        with pytest.raises(UpstreamTimedOut):
            await answer.read(10_000, 0.1)


async def test_no_head_in_time(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamTimedOut):
            await post(upstream, server.url, connect_timeout_s=0.05, first_byte_timeout_s=0.05)


async def test_nobody_listens(upstream: Upstream) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, f"http://127.0.0.1:{unused.getsockname()[1]}/v1")


async def test_nobody_accepts(upstream: Upstream) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect_timeout_s=0.1)
        for each in waiting:
            each.close()


async def test_a_name_that_does_not_resolve(upstream: Upstream) -> None:
    with pytest.raises(UpstreamUnreachable):
        await post(upstream, "http://no-such-host.invalid/v1")


@pytest.mark.parametrize("how", ["close", "reset", "half a head", "no HTTP"])
async def test_an_end_before_the_head(upstream: Upstream, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if how == "reset":
            peer.reset()
        elif how == "half a head":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif how == "no HTTP":
            await peer.send(b"hello, who is there?\r\n\r\n")
            await peer.gone()

    async with ScriptedServer(script) as server:
        with pytest.raises(UpstreamUnreachable):
            await post(upstream, server.url)
        assert server.connections == 1, "a request is never repeated"


async def test_an_answer_can_be_too_large(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        while True:
            await peer.send(chunk(b"x" * 1000))

    async with ScriptedServer(script) as server:
        answer = await post(upstream, server.url)
        with pytest.raises(AnswerTooLarge):
            await answer.read(100_000, SOON_S)


async def test_redirects_cookies_and_compression_are_left_alone(upstream: Upstream) -> None:
    packed = gzip.compress(b"data")
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            more = "Location: /elsewhere\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\n"
            await peer.send(whole(packed, "307 Temporary Redirect", more))
        seen.append(peer)

    async with ScriptedServer(script) as server:
        for _ in range(2):
            answer = await post(upstream, server.url)
            assert answer.status == 307
            assert await answer.read(1000, SOON_S) == packed
            answer.release()
    assert "cookie" not in seen[0].header_names
    assert "accept-encoding" not in seen[0].header_names
