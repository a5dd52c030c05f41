"""The caller leaves before a whole answer is there, or before it was asked for at all."""

import asyncio
import threading

import pytest

from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import PATIENCE_S, Shop, eventually, quick
from tests.http.reading import BODIES, as_request, chat
from tests.upstream import Fault
from tests.upstream import Outcome as EngineOutcome

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1))

OWN = ("vllm", "llama-server")
CLIENT_CLOSED = 499


async def _leave_before_the_answer(shop: Shop, path: str, *, reset: bool = False) -> None:
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model)))
    await shop.upstream.arrived()
    await shop.hang_up(caller, reset=reset)


@pytest.mark.parametrize("engine", OWN)
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_our_own_engine_is_stopped_and_the_input_charged(open_shop, engine: str, path: str, reset: bool) -> None:
    shop = await open_shop(engine)
    await _leave_before_the_answer(shop, path, reset=reset)
    seen = shop.upstream.generations[0]
    async with asyncio.timeout(PATIENCE_S):
        await seen.gone.wait()
    record = await shop.only_record()
    assert (record.outcome, record.status) == (Outcome.ABORTED, CLIENT_CLOSED)
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, 0)
    assert not record.degraded


@pytest.mark.parametrize("engine", OWN)
@pytest.mark.parametrize("path", BODIES)
async def test_several_inputs_are_counted_together(open_shop, engine: str, path: str) -> None:
    shop = await open_shop(engine)
    body = BODIES[path](shop.model)
    if path != "/chat/completions":
        field = "prompt" if path == "/completions" else "input"
        # llama.cpp's completions take one prompt a request; token ids are one.
        body[field] = [1, 2, 3] if path == "/completions" else ["One.", "Two words.", "And three."]
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, path, body))
    await shop.upstream.arrived()
    await shop.hang_up(caller)
    record = await shop.only_record()
    assert (record.usage.input, record.degraded) == (shop.upstream.generations[0].prompt_tokens, False)


@pytest.mark.parametrize("path", BODIES)
async def test_b4_the_answer_of_a_provider_is_heard_out_and_charged(open_shop, path: str) -> None:
    """The provider bills it anyway. The call belongs to a task that outlives the caller."""
    shop = await open_shop("openai")
    await _leave_before_the_answer(shop, path)
    shop.upstream.release()
    record = await shop.only_record()
    seen = shop.upstream.generations[0]
    assert seen.outcome is EngineOutcome.ANSWERED
    assert record.outcome is Outcome.ABORTED
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, seen.generated_tokens)
    assert not record.degraded


@pytest.mark.parametrize("engine", OWN)
async def test_an_engine_that_cannot_count_leaves_a_degraded_record(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.ServerError(500), path="/tokenize")
    await _leave_before_the_answer(shop, "/chat/completions")
    record = await shop.only_record()
    assert (record.outcome, record.degraded) == (Outcome.ABORTED, True)
    assert record.usage.input > 0


async def test_a_caller_who_leaves_while_the_hold_waits_is_never_sent_on(open_shop) -> None:
    """The books are busy, so the hold waits; nobody is there any more when its turn comes: nothing is held or sent."""
    shop = await open_shop("vllm")
    server = shop.live.server
    busy, go_on = threading.Event(), threading.Event()

    def keep_the_books_busy(_session: object) -> None:
        busy.set()
        assert go_on.wait(PATIENCE_S)

    before = await shop.live.verify()
    blocked = asyncio.create_task(server.database.write(keep_the_books_busy))
    await asyncio.to_thread(busy.wait, PATIENCE_S)
    try:
        caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
        await eventually(lambda: server.funds._books._group._running, "the hold to wait")
        await shop.hang_up(caller)
        await eventually(lambda: not server.path.in_flight, "the server to notice")
    finally:
        go_on.set()
        await blocked
    await server.funds.settle_releases()
    assert not await shop.records()
    assert not shop.upstream.generations
    assert (await shop.funds()).settled == 0
    after = await shop.live.verify()
    assert after.entries - before.entries in (0, 2)  # a slice was drawn and given back, or never drawn


async def test_a_request_that_never_arrives_whole_is_nothing(shop: Shop) -> None:
    raw = as_request(shop, "/chat/completions", chat(shop.model))
    caller = await shop.dial(raw[:-5])
    await eventually(lambda: shop.live.server.path.in_flight, "the request to begin")
    caller.leave()
    assert not await shop.records()
    assert not shop.upstream.generations


async def test_g5_concurrent_callers_get_their_own_answers(open_shop) -> None:
    shop = await open_shop("openai", "vllm", priority=0)
    client = await shop.client()

    async def ask(tokens: int) -> tuple[int, int]:
        body = chat(shop.model, f"[[fault=answer:{tokens}]][[fault=delay_first_byte:0.01]]", max_tokens=60)
        answer = await client.post("/chat/completions", json=body)
        return tokens, answer.json()["usage"]["completion_tokens"]

    answers = await asyncio.gather(*(ask(tokens) for tokens in range(1, 41)))
    assert all(asked == got for asked, got in answers)
    assert sorted(record.usage.output for record in await shop.records()) == list(range(1, 41))
