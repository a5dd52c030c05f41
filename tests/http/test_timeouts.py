"""No request outlives its time: what it used is charged, what it held is given back, and the caller is told."""

import asyncio

import pytest

from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import PATIENCE_S, Shop, eventually, quick
from tests.http.reading import BODIES, GENERATING, MODES, as_request, chat, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=3, request_timeout_s=0.4))

ENGINES = ("openai", "vllm", "llama-server")


async def _hung_up_on(shop: Shop) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].gone.wait()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", GENERATING)
async def test_b6_a_stream_out_of_time_is_charged_for_what_was_delivered(open_shop, engine: str, path: str) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.StallAfter(6))
    answer = await shop.post(path, BODIES[path](shop.model, stream=True, max_tokens=20))
    streamed = read_stream(answer.content)
    assert [error["code"] for error in streamed.errors] == ["timeout"]
    await _hung_up_on(shop)
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.FAILED, 504)
    assert streamed.tokens <= record.usage.output <= 20
    assert record.usage.input > 0
    if engine != "openai":
        seen = shop.upstream.generations[0]
        assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, seen.generated_tokens)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("path", "stream"), MODES)
async def test_an_answer_that_never_begins_is_free_and_leaves_nothing_taken(
    open_shop, engine: str, path: str, stream: bool
) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.HoldFirstByte())
    fields = {"stream": True} if stream else {}
    refusal(await shop.post(path, BODIES[path](shop.model, **fields)), 504, "timeout")
    await _hung_up_on(shop)
    record = await shop.only_record()
    assert (record.outcome, record.status, record.charged_micro) == (Outcome.FAILED, 504, 0)
    assert len(shop.upstream.generations) == 1


async def test_a_running_stream_out_of_time_ends_in_an_error(shop: Shop) -> None:
    shop.upstream.plan((Fault.Answer(100_000), Fault.Paced(0.01)))
    streamed = read_stream(
        (await shop.post("/chat/completions", chat(shop.model, stream=True, max_tokens=999))).content
    )
    assert [error["code"] for error in streamed.errors] == ["timeout"]
    assert streamed.tokens <= (await shop.only_record()).usage.output


@pytest.mark.parametrize("engine", ["openai", "vllm"])
async def test_a_reader_who_never_reads_is_let_go(open_shop, engine: str) -> None:
    """Its connection is full, so not even the end of its time can be told to it: then the connection is closed."""
    shop = await open_shop(engine)
    shop.upstream.plan((Fault.Answer(60), Fault.HugeEvent(10, 8_000_000)))
    caller = await shop.dial(b"")
    caller._transport.pause_reading()
    caller.send(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await shop.upstream.arrived()
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.FAILED, 504)
    caller._transport.resume_reading()
    await eventually(lambda: caller.reset is not None or b'"code":"timeout"' in b"".join(caller.pieces[-1:]), "the end")
    assert b"[DONE]" not in caller.raw
