"""The server speaks TLS by itself, and takes a new certificate without letting go of anybody."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from openai import AsyncOpenAI

from surplus.settings import Server
from tests.http.edge import head
from tests.http.harness import PATIENCE_S, Live, eventually, opened, quick, running
from tests.http.processes import launch
from tests.http.reading import chat
from tests.unit.kit.test_edge_tls import write
from tests.upstream import Fault
from tests.upstream.raw_client import Heard

AUTHORITY = trustme.CA()


@pytest.fixture
def believing() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def settings(folder: Path, **server: object):
    certificate, key = write(folder, AUTHORITY.issue_cert("127.0.0.1", "localhost"))
    return quick(server=Server(drain_s=5, tls_certificate=certificate, tls_key=key, **server))


async def dial(live: Live, believing: ssl.SSLContext, sent: bytes) -> Heard:
    loop = asyncio.get_running_loop()
    _, heard = await loop.create_connection(Heard, "127.0.0.1", live.port, ssl=believing, server_hostname="127.0.0.1")
    heard.send(sent)
    return heard


def shown(heard: Heard) -> bytes:
    return heard._transport.get_extra_info("ssl_object").getpeercert(binary_form=True)


async def test_models_are_served_over_tls(tmp_path: Path, believing: ssl.SSLContext) -> None:
    async with running(tmp_path / "data", settings(tmp_path), verify=believing) as live, opened(live, "vllm") as shop:
        async with (
            httpx.AsyncClient(verify=believing) as http,
            AsyncOpenAI(base_url=live.url, api_key=shop.secret.token, http_client=http) as client,
        ):
            stream = await client.chat.completions.create(**chat(shop.model), stream=True)
            said = [event async for event in stream]
            page = await http.get(live.root)
        assert said[-1].choices[0].finish_reason == "stop"
        assert f"{live.root}/v1" in page.text
        assert len(await shop.records()) == 1


async def test_a_new_certificate_is_for_new_connections_and_ends_none(
    tmp_path: Path, believing: ssl.SSLContext
) -> None:
    given = settings(tmp_path, keep_alive_s=2)
    async with running(tmp_path / "data", given, verify=believing) as live, opened(live, "vllm") as shop:
        shop.upstream.plan(Fault.StallAfter(4))
        old = await dial(live, believing, b"")
        body = httpx.Request("POST", live.url, json=chat(shop.model, stream=True)).content
        lines = [f"authorization: Bearer {shop.secret.token}", f"content-length: {len(body)}"]
        old.send(head("/v1/chat/completions", *lines, method="POST") + body)
        await old.has(b" the")
        write(tmp_path, AUTHORITY.issue_cert("127.0.0.1"))
        fresh = [await dial(live, believing, head("/healthz"))]
        async with asyncio.timeout(PATIENCE_S):
            while shown(fresh[-1]) == shown(old):
                fresh.append(await dial(live, believing, head("/healthz")))
                await asyncio.sleep(0.01)
        shop.upstream.release()
        await old.has(b"[DONE]")
        for caller in (old, *fresh):
            caller.leave()


async def test_a_slow_reader_over_tls_is_let_go_of(tmp_path: Path, believing: ssl.SSLContext) -> None:
    given = settings(tmp_path, unread_timeout_s=0.4)
    async with running(tmp_path / "data", given, verify=believing) as live, opened(live, "vllm") as shop:
        huge = [Fault.HugeEvent(number, 8_000_000) for number in (10, 12)]
        shop.upstream.plan((Fault.Answer(60), *huge, Fault.StallAfter(30)))
        caller = await dial(live, believing, b"")
        caller._transport.pause_reading()
        body = httpx.Request("POST", live.url, json=chat(shop.model, stream=True, max_tokens=60)).content
        lines = [f"authorization: Bearer {shop.secret.token}", f"content-length: {len(body)}"]
        caller.send(head("/v1/chat/completions", *lines, method="POST") + body)
        await shop.upstream.arrived()
        async with asyncio.timeout(PATIENCE_S):
            await shop.upstream.generations[0].gone.wait()
        assert (await shop.only_record()).status == 499
        caller._transport.abort()


async def test_somebody_who_never_shakes_hands_is_let_go_of(tmp_path: Path, believing: ssl.SSLContext) -> None:
    async with running(tmp_path / "data", settings(tmp_path, head_timeout_s=0.3), verify=believing) as live:
        _, plain = await asyncio.get_running_loop().create_connection(Heard, "127.0.0.1", live.port)
        await plain.closed()
        assert plain.raw == b""
        caller = await dial(live, believing, b"GET /v1/models HTTP/1.1\r\n")
        await caller.closed()
        assert caller.status == 408
        await eventually(lambda: not live.server.edge.seats.open, "everyone to have gone")


async def _accepts(port: int) -> None:
    while True:
        try:
            _, heard = await asyncio.get_running_loop().create_connection(Heard, "127.0.0.1", port)
            heard.leave()
            return
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)


async def _says(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """How `surplus serve` ends, and what it says; if it answers at all, it is told to end then."""
    process = await launch(tmp_path / "data", tmp_path / "log", *arguments, **environment)
    async with asyncio.timeout(PATIENCE_S):
        said = (await process.stdout.readline()).decode()
        if said:
            await _accepts(int(said.rsplit(":", 1)[1]))
            process.terminate()
        status = await process.wait()
    return status, said, (tmp_path / "log").read_text()


async def test_the_command_takes_a_certificate_and_prints_where_it_is(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, AUTHORITY.issue_cert("127.0.0.1"))
    status, said, _ = await _says(tmp_path, "--tls-certificate", certificate, "--tls-key", key)
    assert " at https://127.0.0.1:" in said
    assert status == 0


async def test_the_command_says_what_is_wrong_with_a_certificate(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, AUTHORITY.issue_cert("127.0.0.1"), key=AUTHORITY.issue_cert("127.0.0.1"))
    status, _, log = await _says(tmp_path, "--tls-certificate", certificate)
    assert (status, "server.tls_certificate has no effect without server.tls_key" in log) == (1, True)
    both = {"SURPLUS_SERVER_TLS_CERTIFICATE": certificate, "SURPLUS_SERVER_TLS_KEY": key}
    status, _, log = await _says(tmp_path, **both)
    assert (status, "is not that of the certificate" in log, "Traceback" in log) == (1, True, False)
