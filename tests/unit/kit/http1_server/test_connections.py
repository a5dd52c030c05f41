"""How connections live and end: times, leaving, back-pressure, faults, drains, TLS, and ASGI behind it all."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from surplus.kit.edge.tls import Tls
from surplus.kit.http1_server import AsgiHandler, Exchange, Gone
from surplus.kit.http1_server.connection import HELD_BYTES
from tests.unit.kit.http1_server.house import PATIENCE_S, TEXT, echo, get, post, served, until

pytestmark = pytest.mark.asyncio


async def test_a_head_and_a_body_have_to_come_in_time_and_idle_connections_end() -> None:
    async with served(head_s=0.01, body_s=0.01, idle_s=0.01) as house:
        late = [await house.dial(sent) for sent in (b"", get()[:-2], post(b"abc")[:-1], get())]
        answers = [await caller.rest() for caller in late]
        assert [answer[9:12] for answer in answers] == [b"", b"408", b"408", b"200"]


async def test_a_handler_hears_that_its_caller_has_gone() -> None:
    gone = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        exchange.when_gone = gone.set
        await exchange.left()
        assert exchange.gone
        exchange.start(200, TEXT, b"to nobody", more=False)

    async with served(wait) as house:
        caller = await house.dial(get())
        await until(lambda: house.seen)
        caller.writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await gone.wait()


async def test_a_body_that_ends_too_soon_is_never_whole() -> None:
    ended: list[bool] = []

    async def read(exchange: Exchange) -> None:
        assert await exchange.receive() == b"ab"
        with pytest.raises(Gone):
            await exchange.receive()
        ended.append(exchange.gone)

    async with served(read) as house:
        caller = await house.dial(post(b"abc")[:-1])
        await until(lambda: house.seen)
        caller.writer.close()
        await until(lambda: ended == [True])


async def test_a_slow_reader_is_waited_for() -> None:
    sent = 0

    async def pour(exchange: Exchange) -> None:
        nonlocal sent
        exchange.start(200, TEXT, b"", more=True)
        for _ in range(400):
            await exchange.drained()
            exchange.send(b"x" * 65536, more=True)
            sent += 65536
        exchange.send(b"", more=False)

    async with served(pour) as house:
        caller = await house.dial()
        caller.writer.transport.pause_reading()
        caller.writer.write(get())
        await until(lambda: house.seen and house.seen[0].full)
        assert sent < 400 * 65536
        caller.writer.transport.resume_reading()
        assert len((await caller.answer())[2]) == 400 * 65536


async def test_a_slow_handler_stops_the_sender() -> None:
    go = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    async with served(wait) as house:
        body = b"x" * 20_000_000
        caller = await house.dial(post(body))
        await until(lambda: house.seen and house.seen[0].held > HELD_BYTES)
        held = house.seen[0].held
        await asyncio.sleep(0)
        assert house.seen[0].held == held < len(body)
        go.set()
        assert len((await caller.answer())[2]) == len(body) + 3


@pytest.mark.parametrize("begun", [False, True])
async def test_a_fault_is_told_and_ends_the_connection(begun: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(exchange: Exchange) -> None:
        if begun:
            exchange.start(200, TEXT, b"half", more=True)
            await asyncio.sleep(0)
        raise LookupError("nothing there")

    async with served(fail) as house:
        answer = await (await house.dial(get())).rest()
    assert answer.startswith(b"HTTP/1.1 200 " if begun else b"HTTP/1.1 500 ")
    assert not answer.endswith(b"0\r\n\r\n")
    assert "nothing there" in caplog.text


async def test_fields_cannot_become_other_fields() -> None:
    async def forge(exchange: Exchange) -> None:
        with pytest.raises(ValueError, match="end of line"):
            exchange.start(200, [(b"x", b"1\r\nset-cookie: y")], b"", more=False)
        exchange.start(200, [], b"", more=False)

    async with served(forge) as house:
        status, headers, _ = await (await house.dial(get())).answer()
    assert status == 200
    assert "set-cookie" not in headers


async def test_a_drain_answers_what_is_under_way_and_closes_the_rest() -> None:
    go = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        exchange.start(200, TEXT, b"begun ", more=True)
        await go.wait()
        exchange.send(b"ended", more=False)

    async with served(wait) as house:
        idle, busy = await house.dial(), await house.dial(get())
        await until(lambda: house.seen)
        house.stop.set()
        assert await idle.rest() == b""
        go.set()
        assert (await busy.answer())[2] == b"begun ended"
        await house.serving
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await house.dial()


async def test_what_outlasts_a_drain_is_cancelled_and_ends_before_the_server_does() -> None:
    ended: list[str] = []

    async def hang(exchange: Exchange) -> None:
        try:
            await exchange.left()
        finally:
            ended.append("cancelled")

    async with served(hang, drain_s=0.01) as house:
        caller = await house.dial(get())
        await until(lambda: house.seen)
        house.stop.set()
        await house.serving
        assert ended == ["cancelled"]
        assert (await caller.rest())[:12] in {b"HTTP/1.1 503", b""}


async def test_it_speaks_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    theirs = ssl.create_default_context()
    authority.configure_trust(theirs)
    async with served(tls=Tls(tmp_path / "pem", tmp_path / "pem")) as house:
        caller = await house.dial(post(b"abc"), ssl=theirs, server_hostname="localhost")
        assert (await caller.answer())[2] == b"/p abc"
        assert house.seen[0].ends.scheme == "https"


async def test_an_asgi_application_is_asked_as_asgi_says() -> None:
    told: list[str] = []

    async def app(scope, receive, send) -> None:
        told.extend((scope["type"], scope["method"], scope["path"], scope["scheme"], scope["client"][0]))
        assert await receive() == {"type": "http.request", "body": b"abc", "more_body": False}
        await send({"type": "http.response.start", "status": 201, "headers": [(b"X-Y", b"z")]})
        await send({"type": "http.response.body", "body": b"made", "more_body": True})
        await send({"type": "http.response.body"})
        assert await receive() == {"type": "http.disconnect"}

    async with served(AsgiHandler(app)) as house:
        status, headers, body = await (await house.dial(post(b"abc"))).answer()
    assert (status, headers["x-y"], body) == (201, "z", b"made")
    assert told == ["http", "POST", "/p", "http", "127.0.0.1"]
