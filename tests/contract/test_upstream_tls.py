"""Our HTTP client over TLS: who is believed, and what is an end."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from surplus.serving.errors import UpstreamCut, UpstreamUnreachable
from surplus.serving.upstream_http import HttpUpstream
from tests.contract.scripted import CHUNKED_HEAD, LAST_CHUNK, Peer, ScriptedServer, chunk, whole
from tests.contract.test_upstream_contract import SOON_S, post, rest
from tests.contract.test_upstream_reuse import ask

OPEN_END = b"HTTP/1.1 200 OK\r\n\r\ndata"
AUTHORITY = trustme.CA()


def serving(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def upstream() -> AsyncIterator[HttpUpstream]:
    believing = ssl.create_default_context()
    AUTHORITY.configure_trust(believing)
    adapter = HttpUpstream(tls=believing)
    yield adapter
    await adapter.close()


async def keep_answering(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(CHUNKED_HEAD + chunk(b"data") + LAST_CHUNK)


async def test_answers_come_over_one_kept_connection(upstream: HttpUpstream) -> None:
    async with ScriptedServer(keep_answering, tls=serving("127.0.0.1")) as server:
        for _ in range(5):
            assert await ask(upstream, server) == b"data"
        assert server.connections == 1


async def test_the_name_is_sent_and_verified(upstream: HttpUpstream) -> None:
    names: list[str | None] = []
    tls = serving("localhost")
    tls.sni_callback = lambda _, name, __: names.append(name)
    async with ScriptedServer(keep_answering, tls=tls) as server:
        server.root = f"https://localhost:{server.port}"
        assert await ask(upstream, server) == b"data"
        assert names == ["localhost"]
        server.root = f"https://127.0.0.1:{server.port}"
        with pytest.raises(UpstreamUnreachable) as refusal:
            await ask(upstream, server)
        assert isinstance(refusal.value.__cause__, ssl.SSLCertVerificationError)


async def test_by_default_only_the_systems_authorities_are_believed() -> None:
    upstream = HttpUpstream()
    async with ScriptedServer(keep_answering, tls=serving("127.0.0.1")) as server:
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable) as refusal:
                await ask(upstream, server)
            assert isinstance(refusal.value.__cause__, ssl.SSLCertVerificationError)
    await upstream.close()


async def test_a_certificate_can_be_believed_by_way_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An operator's own authority is named as for every OpenSSL program."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    upstream = HttpUpstream()
    async with ScriptedServer(keep_answering, tls=serving("127.0.0.1")) as server:
        assert await ask(upstream, server) == b"data"
    await upstream.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_two_schemes_do_not_fit_each_other(upstream: HttpUpstream, scheme: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    tls = serving("127.0.0.1") if scheme == "http" else None
    async with ScriptedServer(script, tls=tls) as server:
        server.root = f"{scheme}://127.0.0.1:{server.port}"
        with pytest.raises(UpstreamUnreachable):
            await ask(upstream, server)


async def test_a_large_body_and_a_large_answer(upstream: HttpUpstream) -> None:
    body = bytes(range(256)) * 4 * 8192

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(peer.body))

    async with ScriptedServer(script, tls=serving("127.0.0.1")) as server:
        answer = await post(upstream, server.url, body=body)
        assert await rest(answer) == body
        answer.release()


async def test_an_answer_of_unstated_length_ends_with_a_close_notify(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OPEN_END)

    async with ScriptedServer(script, tls=serving("127.0.0.1")) as server:
        assert await ask(upstream, server) == b"data"


@pytest.mark.parametrize("sent", [OPEN_END, CHUNKED_HEAD + chunk(b"data")])
async def test_an_end_without_a_close_notify_is_a_cut(upstream: HttpUpstream, sent: bytes) -> None:
    """Anybody on the way can end a TCP connection; only the engine can end a TLS one."""
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await read.wait()
        peer.abort()

    async with ScriptedServer(script, tls=serving("127.0.0.1")) as server:
        answer = await post(upstream, server.url)
        assert await answer.chunk(SOON_S) == b"data"
        read.set()
        with pytest.raises(UpstreamCut):
            await answer.chunk(SOON_S)


async def test_closing_does_not_wait_for_the_other_side(upstream: HttpUpstream) -> None:
    forever = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        await forever.wait()

    async with ScriptedServer(script, tls=serving("127.0.0.1")) as server, asyncio.timeout(SOON_S):
        answer = await post(upstream, server.url)
        await upstream.close()
        with pytest.raises(UpstreamCut):
            await answer.chunk(SOON_S)
