"""What callers may send, and what they get."""

import asyncio

import pytest

from surplus.kit.http1_server import Exchange
from tests.unit.kit.http1_server.house import TEXT, echo, get, post, served, until

pytestmark = pytest.mark.asyncio


async def test_a_connection_is_kept_and_used_again() -> None:
    async with served() as house:
        caller = await house.dial()
        for number in range(3):
            caller.writer.write(post(b"%d" % number))
            status, headers, body = await caller.answer()
            assert (status, body) == (200, b"/p %d" % number)
            assert headers["date"].endswith("GMT")
        assert len(house.server.connections) == 1


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    running: list[int] = []

    async def slow(exchange: Exchange) -> None:
        running.append(1)
        assert len(running) == 1
        await asyncio.sleep(0)
        running.pop()
        await echo(exchange)

    async with served(slow) as house:
        caller = await house.dial(b"".join(post(b"%d" % number) for number in range(20)))
        assert [(await caller.answer())[2] for _ in range(20)] == [b"/p %d" % number for number in range(20)]


async def test_a_body_may_come_in_chunks_and_in_pieces() -> None:
    sent = b"POST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\ntrailer: x\r\n\r\n"
    async with served() as house:
        caller = await house.dial()
        for place in range(len(sent)):
            caller.writer.write(sent[place : place + 1])
            await asyncio.sleep(0)
        assert (await caller.answer())[2] == b"/p abcde"
        caller.writer.write(get("/b?x=%20"))
        assert (await caller.answer())[2] == b"/b "
        assert house.seen[1].head.query == b"x=%20"
        assert not house.seen[0].header(b"trailer")


async def test_who_asks_whether_to_go_on_is_told_when_the_body_is_wanted() -> None:
    async with served() as house:
        caller = await house.dial(post(b"abc", "expect: 100-continue\r\n")[:-3])
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.writer.write(b"abc")
        assert (await caller.answer())[2] == b"/p abc"


async def refuse(exchange: Exchange) -> None:
    exchange.start(413, TEXT, b"no", more=False)


async def test_a_body_that_was_not_wanted_is_not_asked_for() -> None:
    async with served(refuse) as house:
        caller = await house.dial(post(b"abc", "expect: 100-continue\r\n")[:-3])
        assert (await caller.answer())[0] == 413
        assert await caller.rest() == b""


async def test_a_body_that_comes_after_its_answer_is_passed_over() -> None:
    async with served(refuse) as house:
        sent = post(b"x" * 300_000)
        caller = await house.dial(sent[:100])
        assert (await caller.answer())[0] == 413
        caller.writer.write(sent[100:] + get())
        assert (await caller.answer())[0] == 413
        assert house.seen[1].head.path == "/a"


async def test_what_comes_after_an_answer_is_bounded() -> None:
    async with served(refuse, body_bytes=100_000) as house:
        caller = await house.dial(b"POST /p HTTP/1.1\r\ncontent-length: 900000000\r\n\r\n")
        assert (await caller.answer())[0] == 413
        caller.writer.write(b"x" * 2_000_000)
        assert await caller.rest() == b""


async def stream(exchange: Exchange) -> None:
    exchange.start(200, TEXT, b"one ", more=True)
    exchange.send(b"two", more=True)
    exchange.send(b"", more=False)


async def test_a_stream_goes_in_chunks_or_to_the_end_of_the_connection() -> None:
    async with served(stream) as house:
        caller = await house.dial(get())
        assert (await caller.answer())[2] == b"one two"
        caller.writer.write(b"GET /a HTTP/1.0\r\n\r\n")
        old = await caller.rest()
        assert old.endswith(b"\r\n\r\none two")
        assert b"connection: close\r\n" in old


async def test_heads_alone_are_answered_with_heads_alone() -> None:
    async with served() as house:
        caller = await house.dial(get().replace(b"GET", b"HEAD") + get("/b", "connection: close\r\n"))
        assert (await caller.answer(bodiless=True))[1]["content-length"] == "3"
        status, headers, body = await caller.answer()
        assert (status, headers["connection"], body) == (200, "close", b"/b ")
        assert await caller.rest() == b""


BAD = {
    "both framings": b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "chunked is not last": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nhost: here\n\n",
    "a blank before a colon": b"GET / HTTP/1.1\r\nhost : here\r\n\r\n",
    "no method": b"HELLO / HTTP/1.1\r\n\r\n",
    "an old version": b"GET / HTTP/0.9\r\n\r\n",
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD.keys())
async def test_what_could_be_read_in_two_ways_is_refused(sent: bytes) -> None:
    async with served() as house:
        caller = await house.dial(sent)
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1 + answer.count(b"no HTTP/1.1 request")


async def test_a_broken_request_does_not_take_the_answer_before_it() -> None:
    async with served() as house:
        caller = await house.dial(get() + b"\x00\x01")
        assert (await caller.answer())[2] == b"/a "
        assert await caller.rest() == b""


@pytest.mark.parametrize("pieces", [1, 50])
async def test_a_head_has_a_largest_size(pieces: int) -> None:
    head = get(more="x: y\r\n" * 100 + f"long: {'z' * 9000}\r\n")
    async with served(head_bytes=8000) as house:
        caller = await house.dial()
        size = len(head) // pieces + 1
        for start in range(0, len(head), size):
            caller.writer.write(head[start : start + size])
            await asyncio.sleep(0)
        assert (await caller.rest()).startswith(b"HTTP/1.1 431 ")
        assert not house.seen


async def test_another_protocol_is_not_changed_to() -> None:
    async with served() as house:
        caller = await house.dial(post(b"abc", "connection: upgrade\r\nupgrade: h2c\r\n"))
        assert (await caller.answer())[2] == b"/p abc"
        head = post(b"abc", "connection: upgrade\r\nupgrade: h2c\r\n")
        caller.writer.write(head[:-2])
        await until(lambda: len(house.seen) == 2)
        caller.writer.write(head[-2:] + get())
        assert (await caller.answer())[2] == b"/p abc"
        assert (await caller.answer())[2] == b"/a "
