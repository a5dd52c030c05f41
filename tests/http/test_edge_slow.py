"""Callers who send slowly, or do not read: they are let go of, told why where they can be, and hold nothing."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from surplus.metering.model import Outcome
from surplus.settings import Server
from tests.http.edge import head, let_go, refused
from tests.http.harness import PATIENCE_S, Shop, eventually, quick
from tests.http.reading import as_request, chat
from tests.upstream import Fault
from tests.upstream import Outcome as EngineOutcome
from tests.upstream.raw_client import Heard

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMIT_S = 0.4
SETTINGS = quick(
    server=Server(
        drain_s=5,
        head_timeout_s=LIMIT_S,
        body_timeout_s=LIMIT_S,
        min_body_rate=2000,
        keep_alive_s=LIMIT_S,
        unread_timeout_s=LIMIT_S,
        max_body_bytes=2**20,
    )
)


async def _trickle(caller: Heard, drop: bytes) -> None:
    """Send a little again and again, until the server has had enough."""
    async with asyncio.timeout(PATIENCE_S):
        while not caller.raw and caller.reset is None:
            caller.send(drop)
            await asyncio.sleep(0.01)


async def test_a_head_that_drips_in_is_refused(shop: Shop) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    caller = await shop.dial(b"POST /v1/chat/completions HTTP/1.1\r\n")
    await _trickle(caller, b"x-drop: 1\r\n")
    error = await refused(caller, 408, "request_too_slow")
    assert "0.4 s" in error["message"]
    assert loop.time() - began >= LIMIT_S
    await let_go(shop.live)


async def test_a_thousandth_of_a_head_at_a_time_is_a_head_all_the_same(shop: Shop) -> None:
    sent = head("/healthz")
    caller = await shop.dial(b"")
    for byte in sent:
        caller.send(bytes([byte]))
        await asyncio.sleep(0)
    await caller.has(b'{"status":"ok"}')


async def test_a_connection_on_which_nothing_comes_is_closed_without_a_word(shop: Shop) -> None:
    caller = await (await shop.dial(b"")).closed()
    assert caller.raw == b""


def _answered(caller: Heard, times: int) -> bool:
    return caller.raw.count(b"HTTP/1.1 200") == caller.raw.count(b'{"status":"ok"}') == times


async def test_an_idle_connection_is_closed_and_one_in_use_is_not(shop: Shop) -> None:
    caller = await shop.dial(head("/healthz"))
    loop = asyncio.get_running_loop()
    began, asked = loop.time(), 1
    while loop.time() - began < 3 * LIMIT_S:
        await eventually(partial(_answered, caller, asked), "the answer")
        caller.send(head("/healthz"))
        asked += 1
        await asyncio.sleep(LIMIT_S / 8)
    await caller.closed()
    assert _answered(caller, asked)


async def test_a_slow_answer_is_no_idle_connection(shop: Shop) -> None:
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
    await shop.upstream.arrived()
    for _ in range(2):  # others, which are idle, come and go meanwhile
        await (await shop.dial(b"")).closed()
    assert caller.reset is None
    shop.upstream.release()
    await caller.has(b'"usage"')


@pytest.mark.parametrize("api", [False, True], ids=["v1", "api"])
async def test_a_body_that_stops_is_refused(shop: Shop, api: bool) -> None:
    path = "/api/organizations" if api else "/v1/chat/completions"
    lines = [f"authorization: Bearer {shop.secret.token}", "content-type: application/json", "content-length: 100"]
    caller = await shop.dial(head(path, *lines, method="POST") + b'{"model": ')
    error = await refused(caller, 408, "request_too_slow", api=api)
    assert "nothing of the body" in error["message"]
    assert not await shop.records()
    await let_go(shop.live)


@pytest.mark.parametrize("framing", ["content-length: 100000", "transfer-encoding: chunked"])
async def test_a_body_that_drips_in_is_refused(shop: Shop, framing: str) -> None:
    lines = [f"authorization: Bearer {shop.secret.token}", framing]
    caller = await shop.dial(head("/v1/chat/completions", *lines, method="POST"))
    await _trickle(caller, b"1\r\n \r\n")
    error = await refused(caller, 408, "request_too_slow")
    assert "2000 bytes per second" in error["message"]
    assert not await shop.records()


async def test_chunks_without_a_body_do_not_keep_a_connection(shop: Shop) -> None:
    lines = [f"authorization: Bearer {shop.secret.token}", "transfer-encoding: chunked"]
    caller = await shop.dial(head("/v1/chat/completions", *lines, method="POST") + b"1;")
    await _trickle(caller, b"x")
    assert "nothing of the body" in (await refused(caller, 408, "request_too_slow"))["message"]


async def test_a_body_that_keeps_its_rate_may_take_its_time(shop: Shop) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield f'{{"model": "{shop.model}", "user": "'.encode()
        for _ in range(30):
            yield b"u" * 500
            await asyncio.sleep(LIMIT_S / 10)
        yield b'", "messages": [{"role": "user", "content": "hello"}]}'

    client = await shop.client()
    answer = await client.post("/chat/completions", content=body(), headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text


async def test_the_rest_of_a_body_that_has_been_refused_is_not_waited_for(shop: Shop) -> None:
    caller = await shop.dial(head("/v1/chat/completions", "content-length: 100000", method="POST"))
    await caller.has(b"invalid_api_key")
    await caller.closed()
    assert caller.raw.count(b"HTTP/1.1 ") == 1


async def _unread(shop: Shop, **fields: object) -> Heard:
    """A caller who asks and does not read."""
    caller = await shop.dial(b"")
    caller._transport.pause_reading()
    caller.send(as_request(shop, "/chat/completions", chat(shop.model, **fields)))
    await shop.upstream.arrived()
    return caller


@pytest.mark.parametrize("engine", ["vllm", "llama-server"])
async def test_a_reader_who_stops_in_a_stream_is_charged_as_one_who_left(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan((Fault.Answer(60), Fault.HugeEvent(10, 8_000_000), Fault.StallAfter(30)))
    await _unread(shop, stream=True, max_tokens=60)
    seen = shop.upstream.generations[0]
    async with asyncio.timeout(PATIENCE_S):
        await seen.gone.wait()
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.ABORTED, 499)
    assert 0 < record.usage.output <= seen.generated_tokens <= 60
    assert record.charged_micro == 2 * seen.prompt_tokens + 8 * record.usage.output
    await let_go(shop.live)


async def test_a_provider_is_heard_out_for_a_reader_who_stops(shop: Shop) -> None:
    shop.upstream.plan((Fault.Answer(60), Fault.HugeEvent(10, 8_000_000)))
    await _unread(shop, stream=True, max_tokens=60)
    record = await shop.only_record()
    seen = shop.upstream.generations[0]
    assert seen.outcome is EngineOutcome.ANSWERED
    assert (record.outcome, record.usage.output) == (Outcome.ABORTED, 60)
    await let_go(shop.live)


async def test_a_slow_reader_who_reads_on_gets_it_all(shop: Shop) -> None:
    """What counts is whether anything is read, not how soon all of it is."""
    shop.upstream.plan((Fault.Answer(60), Fault.HugeEvent(10, 8_000_000)))
    caller = await _unread(shop, stream=True, max_tokens=60)
    async with asyncio.timeout(PATIENCE_S):
        while b"[DONE]" not in b"".join(caller.pieces[-1:]):
            caller._transport.resume_reading()
            await asyncio.sleep(0.001)
            caller._transport.pause_reading()
            await asyncio.sleep(0)
    assert (await shop.only_record()).outcome is Outcome.COMPLETED


async def test_a_whole_answer_that_nobody_reads_does_not_keep_its_connection(shop: Shop) -> None:
    shop.upstream.plan((Fault.Answer(60), Fault.HugeEvent(10, 16_000_000)))
    caller = await _unread(shop, max_tokens=60)
    assert (await shop.only_record()).outcome is Outcome.COMPLETED
    await let_go(shop.live)
    caller._transport.resume_reading()
    await caller.closed()
    assert not caller.complete


async def test_a_caller_who_leaves_with_another_request_waiting_is_noticed(open_shop) -> None:
    """The stream is that of an earlier request of the connection, and its engine is ours: it stops."""
    shop = await open_shop("vllm")
    shop.upstream.plan(Fault.StallAfter(6))
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await caller.has(b" is")
    caller.send(as_request(shop, "/chat/completions", chat(shop.model)))
    await asyncio.sleep(0)
    await shop.hang_up(caller, reset=True)
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].gone.wait()
    record = await shop.only_record()
    assert (record.outcome, record.usage.output) == (Outcome.ABORTED, 5)
