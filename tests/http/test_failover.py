"""Sixteen ways in which an engine fails, seen by the caller, the engines and the books: those before the first event.

Never a hang, a broken answer that looks whole, an engine that is hammered, or an error that hides the real one. The
books (record, charge, hold, slots) are checked after every test; see `open_shop`.
"""

import asyncio
from collections.abc import Sequence

import httpx
import openai
import pytest

from surplus.billing.rating import TokenClass
from surplus.metering.model import Outcome
from surplus.serving.breaker import DEFAULT_RULES, BreakerState
from surplus.serving.replicas import Replica
from surplus.settings import Gateway
from tests.http.harness import CLOCK, PATIENCE_S, PROMPT, Shop, eventually, quick
from tests.http.reading import chat, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
ATTEMPTS = 3
SLOW_S = 0.6
GIVE_UP_S = 2.5
PROBES = 2
"""Cool-downs that can end while a few requests are answered, on a slow machine."""
SETTINGS = quick(
    gateway=Gateway(
        attempts=ATTEMPTS,
        retry_pause_s=0.001,
        retry_pause_max_s=0.01,
        first_event_timeout_s=SLOW_S,
        request_timeout_s=GIVE_UP_S,
    )
)
CHAT = "/chat/completions"
BOTH_MODES = pytest.mark.parametrize("stream", [False, True])


async def _ask(shop: Shop, *, stream: bool, **fields: object) -> httpx.Response:
    return await shop.post(CHAT, chat(shop.model, stream=stream, **fields))


def _whole(answer: httpx.Response) -> None:
    """A complete answer, of the twelve tokens that the test engine says by default."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        streamed = read_stream(answer.content)
        assert (streamed.tokens, streamed.done) == (12, True)
    else:
        assert answer.json()["usage"]["completion_tokens"] == 12


def _attempts(shop: Shop) -> Sequence[int]:
    """How many requests each of the engines has had."""
    return [len(upstream.generations) for upstream in shop.upstreams]


async def _answered_by(shop: Shop, answer: httpx.Response, number: int) -> None:
    """Charged for exactly what the engine that answered has worked: failed attempts are free."""
    record = await shop.record(answer)
    deployment = shop.live.server.pool.deployments(shop.model)[number]
    assert (record.outcome, record.status, record.deployment) == (Outcome.COMPLETED, 200, deployment.id)
    seen = shop.upstreams[number].generations[-1]
    assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, seen.generated_tokens)


async def _failed_free(shop: Shop, answer: httpx.Response, status: int) -> None:
    """There is a record of the failure, which costs nothing."""
    record = await shop.record(answer)
    assert (record.outcome, record.status, record.charged_micro) == (Outcome.FAILED, status, 0)


def _replica(shop: Shop, number: int = 0) -> Replica:
    deployment = shop.live.server.pool.deployments(shop.model)[number]
    return next(one for one in shop.live.server.pool.replicas() if one.deployment.id == deployment.id)


@BOTH_MODES
async def test_s01_429_with_retry_after_is_passed_on_and_obeyed(open_shop, stream: bool) -> None:
    """The engine is left alone for as long as it asks, by every request; a fallback answers meanwhile."""
    shop = await open_shop("openai")
    shop.upstream.always(Fault.RateLimited("7"))
    answer = await _ask(shop, stream=stream)
    refusal(answer, 429, "upstream_rate_limited")
    assert answer.headers["retry-after"] == "7"
    assert "x-should-retry" not in answer.headers or answer.headers["x-should-retry"] == "true"
    await _failed_free(shop, answer, 429)
    await shop.deploy("openai", priority=1)
    for _ in range(3):
        again = await _ask(shop, stream=stream)
        _whole(again)
        await _answered_by(shop, again, 1)
    assert _attempts(shop) == [1, 3]


@BOTH_MODES
async def test_s02_429_without_retry_after_is_tried_a_few_times(open_shop, stream: bool) -> None:
    shop = await open_shop("openai")
    shop.upstream.plan(Fault.RateLimited())
    answer = await _ask(shop, stream=stream)
    _whole(answer)
    await _answered_by(shop, answer, 0)
    assert _attempts(shop) == [2]
    shop.upstream.plan(*[Fault.RateLimited()] * ATTEMPTS)
    refused = await _ask(shop, stream=stream)
    refusal(refused, 429, "upstream_rate_limited")
    assert refused.headers["retry-after"] == "1"
    await _failed_free(shop, refused, 429)
    assert _attempts(shop) == [2 + ATTEMPTS]


@BOTH_MODES
async def test_s03_500_once_is_not_seen_by_the_caller(open_shop, stream: bool) -> None:
    shop = await open_shop("openai")
    shop.upstream.plan(Fault.ServerError(500))
    answer = await _ask(shop, stream=stream)
    _whole(answer)
    await _answered_by(shop, answer, 0)
    assert _attempts(shop) == [2]


async def test_s04_503_that_persists_is_told_and_the_engine_is_not_hammered(shop: Shop) -> None:
    """Not by an SDK that tries again, nor by many callers at once: the circuit opens, and one probe at a time goes."""
    shop.upstream.always(Fault.ServerError(503))
    sdk = await shop.sdk(max_retries=2)
    with pytest.raises(openai.InternalServerError) as raised:
        await sdk.chat.completions.create(**chat(shop.model))
    assert (raised.value.status_code, raised.value.code) == (503, "no_capacity")
    assert len(shop.heard) == 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in shop.heard)
    opened = DEFAULT_RULES.failures
    assert opened <= _attempts(shop)[0] <= opened + 1
    before = _attempts(shop)[0]
    answers = await asyncio.gather(*(_ask(shop, stream=number % 2 == 0) for number in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    assert _attempts(shop)[0] <= before + 1
    assert all(record.charged_micro == 0 for record in await shop.records())


async def test_s04_503_that_persists_is_answered_by_the_fallback(open_shop) -> None:
    shop = await open_shop("openai", "vllm")
    shop.upstream.always(Fault.ServerError(503))
    for number in range(10):
        answer = await _ask(shop, stream=number % 2 == 0)
        _whole(answer)
        await _answered_by(shop, answer, 1)
    failed, answered = _attempts(shop)
    assert failed <= DEFAULT_RULES.failures + PROBES
    assert answered == 10


@BOTH_MODES
async def test_s05_a_reset_before_the_headers_is_tried_again(open_shop, stream: bool) -> None:
    shop = await open_shop("openai")
    shop.upstream.plan(Fault.ResetBeforeHeaders())
    answer = await _ask(shop, stream=stream)
    _whole(answer)
    await _answered_by(shop, answer, 0)
    assert _attempts(shop) == [2]
    shop.upstream.plan(*[Fault.ResetBeforeHeaders()] * ATTEMPTS)
    broken = await _ask(shop, stream=stream)
    error = refusal(broken, 502, "upstream_error")
    assert "connection" in error["message"]
    await _failed_free(shop, broken, 502)
    assert _attempts(shop) == [2 + ATTEMPTS]


async def test_s06_a_stream_that_never_begins_is_given_up_and_the_fallback_answers(open_shop) -> None:
    shop = await open_shop("openai", "openai")
    shop.upstream.always(Fault.HoldFirstByte())
    answer = await _ask(shop, stream=True)
    _whole(answer)
    await _answered_by(shop, answer, 1)
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].gone.wait()
    assert _attempts(shop) == [1, 1]


@BOTH_MODES
async def test_s06_an_engine_that_never_answers_is_a_timeout_and_not_a_hang(open_shop, stream: bool) -> None:
    shop = await open_shop("openai")
    shop.upstream.always(Fault.HoldFirstByte())
    async with asyncio.timeout(GIVE_UP_S + PATIENCE_S):
        answer = await _ask(shop, stream=stream)
    refusal(answer, 504, "timeout")
    await _failed_free(shop, answer, 504)
    assert _attempts(shop) == [ATTEMPTS if stream else 1]
    async with asyncio.timeout(PATIENCE_S):
        for seen in shop.upstream.generations:
            await seen.gone.wait()


async def test_s07_a_slow_first_token_is_waited_for_and_asked_for_once(open_shop) -> None:
    """Asking elsewhere meanwhile would pay twice for one answer."""
    shop = await open_shop("openai", "openai")
    shop.upstream.always(Fault.DelayFirstByte(SLOW_S / 3))
    answer = await _ask(shop, stream=True)
    _whole(answer)
    await _answered_by(shop, answer, 0)
    assert _attempts(shop) == [1, 0]


async def test_s07_a_first_token_that_is_too_slow_is_not_waited_for(open_shop) -> None:
    shop = await open_shop("openai", "openai")
    shop.upstream.always(Fault.DelayFirstByte(PATIENCE_S))
    answer = await _ask(shop, stream=True)
    _whole(answer)
    await _answered_by(shop, answer, 1)
    assert _attempts(shop) == [1, 1]


@BOTH_MODES
async def test_s12_context_length_is_the_callers_and_not_tried_again(open_shop, stream: bool) -> None:
    """Not on the same engine, nor on one whose context is no larger."""
    shop = await open_shop("openai", "openai")
    for upstream in shop.upstreams:
        upstream.always(Fault.ContextLengthExceeded())
    answer = await _ask(shop, stream=stream)
    error = refusal(answer, 400, "context_length_exceeded")
    assert "1024 tokens" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    await _failed_free(shop, answer, 400)
    assert _attempts(shop) == [1, 0]


@BOTH_MODES
async def test_s12_a_fallback_with_a_larger_context_answers(open_shop, stream: bool) -> None:
    shop = await open_shop("openai", "openai")
    large = await shop.deploy("openai", priority=5, context=32_768)
    for upstream in shop.upstreams[:2]:
        upstream.always(Fault.ContextLengthExceeded())
    answer = await _ask(shop, stream=stream)
    _whole(answer)
    await _answered_by(shop, answer, 2)
    assert _attempts(shop) == [1, 0, 1]
    assert _replica(shop).breaker.state(CLOCK.monotonic()) is BreakerState.CLOSED
    large.always(Fault.ContextLengthExceeded())
    too_long = await _ask(shop, stream=stream)
    refusal(too_long, 400, "context_length_exceeded")
    await _failed_free(shop, too_long, 400)
    assert _attempts(shop) == [2, 0, 2]


@BOTH_MODES
async def test_s13_a_content_filter_is_the_callers_and_not_tried_again(open_shop, stream: bool) -> None:
    """A refused prompt is not carried to the next engine until one takes it."""
    shop = await open_shop("openai", "openai")
    shop.upstream.always(Fault.ContentFiltered())
    sdk = await shop.sdk(max_retries=2)
    with pytest.raises(openai.BadRequestError) as raised:
        await sdk.chat.completions.create(**chat(shop.model, stream=stream))
    assert raised.value.code == "content_filter"
    assert "content filter" in raised.value.message
    await _failed_free(shop, shop.heard[-1], 400)
    assert _attempts(shop) == [1, 0]


async def test_s15_a_flapping_engine_is_left_and_gets_its_work_back(open_shop) -> None:
    """Every request is answered meanwhile; the engine is probed ever more seldom, and trusted again once it answers."""
    shop = await open_shop("openai", "openai")
    primary = _replica(shop)

    async def asked(count: int) -> list[int]:
        before = _attempts(shop)
        for number in range(count):
            _whole(await _ask(shop, stream=number % 2 == 0))
        return [after - earlier for after, earlier in zip(_attempts(shop), before, strict=True)]

    async def probed() -> None:
        await eventually(lambda: primary.takes(CLOCK.monotonic()), "the cool-down to end")

    assert await asked(4) == [4, 0]
    shop.upstream.always(Fault.ServerError(500))
    failed, answered = await asked(20)
    assert DEFAULT_RULES.failures <= failed <= DEFAULT_RULES.failures + PROBES
    assert answered == 20
    await probed()
    failed, answered = await asked(10)
    assert 1 <= failed <= PROBES
    assert answered == 10
    shop.upstream.heal()
    await probed()
    assert await asked(10) == [10, 0]
    records = await shop.records()
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert sum(record.usage.output for record in records) == 12 * len(records)


@BOTH_MODES
async def test_s16_the_fallbacks_model_and_usage_are_reported_and_charged(open_shop, stream: bool) -> None:
    """The answer names the model that gave it; the record names its deployment, its usage and its price."""
    shop = await open_shop("openai", "openai")
    cheap = await shop.price(f"{shop.model}-small", {TokenClass.INPUT: "1.00", TokenClass.OUTPUT: "2.00"})
    small = await shop.deploy("openai", priority=5, sku=cheap.sku, upstream_model="small-chat")
    shop.upstreams[0].always(Fault.ServerError(500))
    shop.upstreams[1].always(Fault.EmptyBody())
    small.always(Fault.Answer(5))
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = await _ask(shop, stream=stream, **options)
    said = read_stream(answer.content).chunks if stream else [answer.json()]
    assert {chunk["model"] for chunk in said} == {"small-chat"}
    (seen,) = small.generations
    usage = said[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (seen.prompt_tokens, 5)
    await _answered_by(shop, answer, 2)
    record = await shop.record(answer)
    assert (record.sku, record.price_version) == (cheap.sku, cheap.version)
    assert record.charged_micro == seen.prompt_tokens + 2 * 5
    assert record.usage.input < 2 * seen.prompt_tokens
    assert len(PROMPT) > seen.prompt_tokens
    assert _attempts(shop) == [1, 1, 1]
