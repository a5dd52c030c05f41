"""Ways in which an engine fails in the middle of a stream: the caller is told so, and nothing is sent elsewhere.

The other failures, before the first event, are in test_failover.py; the books are checked after every test.
"""

import asyncio
from collections.abc import Sequence

import httpx
import openai
import pytest

from surplus.metering.model import Outcome, UsageRecord
from surplus.settings import Gateway
from tests.http.harness import PATIENCE_S, PROMPT, Shop, quick
from tests.http.reading import Streamed, chat, read_stream
from tests.upstream import Fault
from tests.upstream.behaviour import Behaviour

pytestmark = pytest.mark.asyncio(loop_scope="module")
SILENCE_S = 0.6
SETTINGS = quick(gateway=Gateway(attempts=3, retry_pause_s=0.001, retry_pause_max_s=0.01, idle_timeout_s=SILENCE_S))
CHAT = "/chat/completions"
TOKENS = 60
BEFORE = 41
"""Events until the fault: the one that names the role, and forty tokens."""
ENGINES = ("openai", "vllm", "llama-server")


async def _streamed(shop: Shop, *faults: Behaviour, **fields: object) -> tuple[httpx.Response, Streamed]:
    """A stream of sixty tokens under these faults, which ends before the test does."""
    shop.upstream.plan((Fault.Answer(TOKENS), *faults))
    async with asyncio.timeout(PATIENCE_S):
        answer = await shop.post(CHAT, chat(shop.model, stream=True, max_tokens=TOKENS, **fields))
    assert answer.status_code == 200
    return answer, read_stream(answer.content)


def _attempts(shop: Shop) -> Sequence[int]:
    return [len(upstream.generations) for upstream in shop.upstreams]


async def _broken_off(shop: Shop, answer: httpx.Response, seen: Streamed, code: str, status: int) -> UsageRecord:
    """Forty tokens and one error event arrived, and what was delivered is charged.

    Of an engine that says what it has generated so far, no more than that; of another, a token for each event.
    """
    assert (seen.tokens, seen.done) == (40, False)
    assert [error["code"] for error in seen.errors] == [code]
    assert "finish_reason" not in {key for chunk in seen.chunks for key, value in chunk["choices"][0].items() if value}
    record = await shop.record(answer)
    assert (record.outcome, record.status) == (Outcome.FAILED, status)
    truth = shop.upstream.generations[0]
    assert record.usage.input >= truth.prompt_tokens
    assert seen.tokens <= record.usage.output <= (BEFORE if record.degraded else truth.generated_tokens)
    return record


@pytest.mark.parametrize("engine", ENGINES)
async def test_s08_a_cut_after_40_of_60_tokens_is_an_error_and_not_an_end(open_shop, engine: str) -> None:
    shop = await open_shop(engine, engine)
    answer, seen = await _streamed(shop, Fault.CutAfter(BEFORE))
    await _broken_off(shop, answer, seen, "stream_interrupted", 502)
    assert _attempts(shop) == [1, 0]


@pytest.mark.parametrize("fault", [Fault.ResetAfter(BEFORE), Fault.HalfEventAfter(BEFORE), Fault.EndAfter(BEFORE)])
async def test_s08_however_it_is_cut(open_shop, fault: Behaviour) -> None:
    shop = await open_shop("openai", "openai")
    answer, seen = await _streamed(shop, Fault.Paced(0.001), fault)
    await _broken_off(shop, answer, seen, "stream_interrupted", 502)
    assert _attempts(shop) == [1, 0]


async def test_s08_the_sdk_raises_and_does_not_take_the_stump_for_an_answer(shop: Shop) -> None:
    shop.upstream.plan((Fault.Answer(TOKENS), Fault.CutAfter(BEFORE)))
    sdk = await shop.sdk(max_retries=2)
    stream = await sdk.chat.completions.create(**chat(shop.model, stream=True, max_tokens=TOKENS))
    first = [await anext(stream) for _ in range(BEFORE)]
    assert sum(bool(chunk.choices[0].delta.content) for chunk in first) == 40
    with pytest.raises(openai.APIError) as raised:
        await anext(stream)
    assert raised.value.code == "stream_interrupted"
    assert len(shop.heard) == 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_s09_a_stall_in_mid_stream_ends_in_an_error_within_its_time(open_shop, engine: str) -> None:
    shop = await open_shop(engine, engine)
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer, seen = await _streamed(shop, Fault.StallAfter(BEFORE))
    assert SILENCE_S <= loop.time() - began < SILENCE_S + PATIENCE_S
    await _broken_off(shop, answer, seen, "timeout", 504)
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].gone.wait()
    assert _attempts(shop) == [1, 0]


async def test_s09_a_pause_that_is_shorter_than_the_limit_is_no_stall(shop: Shop) -> None:
    answer, seen = await _streamed(shop, Fault.Answer(6), Fault.Paced(SILENCE_S / 4))
    assert (seen.tokens, seen.done) == (6, True)
    assert (await shop.record(answer)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("engine", ENGINES)
async def test_s10_a_malformed_chunk_ends_the_stream_in_an_error(open_shop, engine: str) -> None:
    """Nothing malformed is passed on, and what comes behind it is not trusted."""
    shop = await open_shop(engine, engine)
    answer, seen = await _streamed(shop, Fault.MalformedJson(BEFORE))
    await _broken_off(shop, answer, seen, "stream_interrupted", 502)
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].ended.wait()
    assert _attempts(shop) == [1, 0]


async def test_s10_a_stream_that_begins_malformed_is_tried_elsewhere(open_shop) -> None:
    shop = await open_shop("openai", "openai")
    shop.upstreams[1].plan(Fault.Answer(TOKENS))
    answer, seen = await _streamed(shop, Fault.MalformedJson(0))
    assert (seen.tokens, seen.done) == (TOKENS, True)
    assert (await shop.record(answer)).usage.output == TOKENS
    assert _attempts(shop) == [1, 1]


@pytest.mark.parametrize("engine", ENGINES)
async def test_s11_a_whole_answer_without_done_gets_it(open_shop, engine: str) -> None:
    """Every choice has its reason to finish, and the body ended properly: it is whole, and only its last word lacks."""
    shop = await open_shop(engine, engine)
    answer, seen = await _streamed(shop, Fault.NoDone())
    assert (seen.tokens, seen.done) == (TOKENS, True)
    record = await shop.record(answer)
    assert (record.outcome, record.usage.output, record.degraded) == (Outcome.COMPLETED, TOKENS, False)
    assert _attempts(shop) == [1, 0]


async def test_s11_an_answer_without_done_and_without_a_reason_is_not_whole(shop: Shop) -> None:
    _, seen = await _streamed(shop, Fault.NoDone(), Fault.NoFinishReason())
    assert (seen.tokens, seen.done) == (TOKENS, False)
    assert [error["code"] for error in seen.errors] == ["stream_interrupted"]
    assert (await shop.only_record()).outcome is Outcome.FAILED


@pytest.mark.parametrize("fault", [Fault.CutAfter(BEFORE), Fault.StallAfter(BEFORE)])
async def test_s14_a_broken_stream_is_never_resumed_elsewhere(open_shop, fault: Behaviour) -> None:
    """Whoever continued it would have to be given the first half as its own words, which many engines refuse.

    The next request goes its own way: one broken stream condemns no engine.
    """
    shop = await open_shop("openai", "openai")
    answer, seen = await _streamed(shop, fault)
    assert (seen.tokens, len(seen.errors)) == (40, 1)
    assert _attempts(shop) == [1, 0]
    assert (await shop.record(answer)).outcome is Outcome.FAILED
    again, whole = await _streamed(shop)
    assert (whole.tokens, whole.done) == (TOKENS, True)
    assert (await shop.record(again)).outcome is Outcome.COMPLETED
    assert _attempts(shop) == [2, 0]
    for sent in shop.upstream.generations:
        assert sent.body["messages"] == [{"role": "user", "content": PROMPT}]
