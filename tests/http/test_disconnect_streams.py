"""The caller leaves a stream: our own engines are stopped at once, a provider is heard out; either way it is billed."""

import asyncio

import pytest

from surplus.app.keys import KeySpec
from surplus.identity.model import Limits
from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import PATIENCE_S, PROMPT, Shop, quick
from tests.http.reading import BODIES, GENERATING, as_request, chat, read_stream
from tests.upstream import Fault, Seen
from tests.upstream import Outcome as EngineOutcome

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1))

OWN = ("vllm", "llama-server")
CLIENT_CLOSED = 499
FIFTH = b" is"


async def _abandoned(shop: Shop, index: int = 0) -> Seen:
    """The engine's side of a request, once it has seen that nobody listens any more."""
    seen = shop.upstream.generations[index]
    async with asyncio.timeout(PATIENCE_S):
        await seen.gone.wait()
    return seen


async def _leave_after_five_tokens(shop: Shop, path: str, *, reset: bool = False) -> None:
    """A stream that stalls when its fifth token is out, and a caller who then hangs up."""
    shop.upstream.plan(Fault.StallAfter(6 if path == "/chat/completions" else 5))
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model, stream=True)))
    await caller.has(FIFTH)
    await shop.hang_up(caller, reset=reset)


@pytest.mark.parametrize("engine", OWN)
@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_b1_a_dropped_stream_is_recorded_and_charged(open_shop, engine: str, path: str, reset: bool) -> None:
    """An engine of ours stops working for nobody, and is charged for by the last figures that it gave."""
    shop = await open_shop(engine)
    await _leave_after_five_tokens(shop, path, reset=reset)
    seen = await _abandoned(shop)
    assert seen.generated_tokens == 5
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.ABORTED, CLIENT_CLOSED)
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, 5)
    assert record.charged_micro == 2 * seen.prompt_tokens + 8 * 5
    assert not record.degraded


@pytest.mark.parametrize("engine", OWN)
@pytest.mark.parametrize("path", GENERATING)
async def test_b2_a_caller_who_leaves_a_running_stream_pays_for_what_was_delivered(
    open_shop, engine: str, path: str
) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan((Fault.Answer(400), Fault.Paced(0.002)))
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model, stream=True, max_tokens=400)))
    await caller.has(FIFTH)
    await shop.hang_up(caller)
    delivered = caller.raw.count(b'"finish_reason":null') - (path == "/chat/completions")
    seen = await _abandoned(shop)
    record = await shop.only_record()
    assert 5 <= delivered <= record.usage.output <= seen.generated_tokens < 400
    assert (record.outcome, record.degraded) == (Outcome.ABORTED, False)


@pytest.mark.parametrize("engine", OWN)
async def test_b3_a_partial_record_is_priced_like_any_other(open_shop, engine: str) -> None:
    """By its real classes of tokens, at the price that was in force when it was admitted."""
    shop = await open_shop(engine)
    shop.upstream.plan((Fault.Cached(4), Fault.StallAfter(4)))
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await caller.has(b" the")
    await shop.hang_up(caller)
    seen = await _abandoned(shop)
    record = await shop.only_record()
    assert (record.usage.uncached, record.usage.cache_read) == (seen.prompt_tokens - 4, 4)
    assert record.charged_micro == 2 * (seen.prompt_tokens - 4) + 2 + 8 * 3


@pytest.mark.parametrize("engine", OWN)
@pytest.mark.parametrize("path", GENERATING)
async def test_before_the_first_token_the_engine_counts_the_input(open_shop, engine: str, path: str) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model, stream=True)))
    await shop.upstream.arrived()
    await shop.hang_up(caller)
    seen = await _abandoned(shop)
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.ABORTED, CLIENT_CLOSED)
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, 0)
    assert not record.degraded
    assert record.charged_micro == 2 * seen.prompt_tokens


@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_b5_a_provider_is_heard_out_and_billed_as_it_bills_us(open_shop, path: str, reset: bool) -> None:
    shop = await open_shop("openai")
    await _leave_after_five_tokens(shop, path, reset=reset)
    shop.upstream.release()
    record = await shop.only_record()
    seen = shop.upstream.generations[0]
    assert seen.outcome is EngineOutcome.ANSWERED
    assert record.outcome is Outcome.ABORTED
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, 12)
    assert not record.degraded


@pytest.mark.parametrize("path", GENERATING)
async def test_a_provider_is_heard_out_before_its_first_token_too(open_shop, path: str) -> None:
    shop = await open_shop("openai")
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model, stream=True)))
    await shop.upstream.arrived()
    await shop.hang_up(caller)
    shop.upstream.release()
    record = await shop.only_record()
    assert record.outcome is Outcome.ABORTED
    assert record.usage.output == 12 == shop.upstream.usage.completion


async def test_a_provider_that_breaks_for_nobody_leaves_one_record(open_shop) -> None:
    shop = await open_shop("openai")
    shop.upstream.plan((Fault.StallAfter(4), Fault.CutAfter(6)))
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await caller.has(b" the")
    await shop.hang_up(caller)
    shop.upstream.release()
    record = await shop.only_record()
    assert (record.outcome, record.degraded) == (Outcome.ABORTED, True)
    assert record.usage.output >= 5


@pytest.mark.parametrize("engine", ["openai", *OWN])
async def test_d4_cancelled_streams_leave_no_slot_taken(open_shop, engine: str) -> None:
    """Some clients open a stream on trial and cancel it; the key's one place has to be free at once, every time."""
    shop = await open_shop(engine, key=KeySpec(limits=Limits(concurrency=1)))
    for number in range(4):
        shop.upstream.plan(Fault.StallAfter(3))
        caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
        await caller.has(b"Hello")
        await shop.hang_up(caller)
        await shop.upstream.arrived(number + 1)
        shop.upstream.release()
        await shop.live.quiet()
    answer = await shop.post("/chat/completions", chat(shop.model))
    assert answer.status_code == 200
    assert [record.outcome for record in await shop.records()].count(Outcome.ABORTED) == 4


async def test_the_sdk_may_close_a_stream(open_shop) -> None:
    shop = await open_shop("vllm")
    shop.upstream.plan(Fault.StallAfter(4))
    sdk = await shop.sdk()
    said = [{"role": "user", "content": PROMPT}]
    stream = await sdk.chat.completions.create(model=shop.model, messages=said, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content == " the":
            break
    await stream.close()
    seen = await _abandoned(shop)
    assert (await shop.only_record()).usage.output == 3 == seen.generated_tokens


async def test_a_caller_who_leaves_after_the_end_has_had_a_whole_answer(shop: Shop) -> None:
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await caller.has(b"[DONE]")
    caller.leave()
    assert read_stream(caller.body).tokens == 12
    assert (await shop.only_record()).outcome is Outcome.COMPLETED


async def test_a_slow_reader_gets_every_token_in_order(shop: Shop) -> None:
    """More than all buffers between us hold: the relay has to wait for the reader, and loses nothing by it."""
    shop.upstream.plan((Fault.Answer(60), Fault.HugeEvent(30, 12_000_000)))
    caller = await shop.dial(b"")
    caller._transport.pause_reading()
    caller.send(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await shop.upstream.arrived()
    for _ in range(20):
        await asyncio.sleep(0)
    caller._transport.resume_reading()
    await caller.has(b"[DONE]")
    assert read_stream(caller.body).tokens == 60
    assert (await shop.only_record()).usage.output == 60
