"""Failures that another attempt answers: what is tried again, where, and that only the answer is charged."""

import pytest

from surplus.billing.rating import TokenClass
from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import Shop, quick
from tests.http.reading import BODIES, GENERATING, MODES, chat, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=3, retry_pause_s=0.001, retry_pause_max_s=0.01, first_event_timeout_s=0.3))

HELPED = [
    Fault.ServerError(500),
    Fault.ServerError(503),
    Fault.RateLimited(),
    Fault.Unauthorized(),
    Fault.NotFound(),
    Fault.CloseBeforeAnyByte(),
    Fault.ResetBeforeHeaders(),
    Fault.ResetAfterHeaders(),
    Fault.ErrorBodyWithStatus200(),
    Fault.HtmlWithStatus200(),
    Fault.EmptyBody(),
]
FATAL = [Fault.ContextLengthExceeded(), Fault.ContentFiltered(), Fault.TooLarge()]


def _good(shop: Shop, path: str, answer, *, stream: bool) -> None:
    assert answer.status_code == 200, answer.text
    if stream:
        assert read_stream(answer.content).tokens == 12
    elif path in GENERATING:
        assert answer.json()["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize(("path", "stream"), MODES)
@pytest.mark.parametrize("fault", HELPED, ids=repr)
async def test_f2_a_failure_is_answered_by_another_attempt(open_shop, path: str, stream: bool, fault) -> None:
    """One retry engine for all endpoints and both modes; the failed attempt is not billed."""
    shop = await open_shop("openai")
    shop.upstream.plan(fault)
    fields = {"stream": True} if stream else {}
    _good(shop, path, await shop.post(path, BODIES[path](shop.model, **fields)), stream=stream)
    assert len(shop.upstream.generations) == 2
    record = await shop.only_record()
    assert record.outcome is Outcome.COMPLETED
    assert record.usage.input == shop.upstream.generations[1].prompt_tokens
    assert record.usage.output == shop.upstream.generations[1].generated_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FATAL, ids=repr)
async def test_a_mistake_of_the_callers_is_sent_once(open_shop, stream: bool, fault) -> None:
    shop = await open_shop("openai", "openai")
    for upstream in shop.upstreams:
        upstream.always(fault)
    answer = await shop.post("/chat/completions", chat(shop.model, stream=stream))
    assert 400 <= answer.status_code < 500
    assert [len(upstream.generations) for upstream in shop.upstreams] == [1, 0]


@pytest.mark.parametrize("engines", [("openai", "vllm"), ("vllm", "openai"), ("openai", "openai")])
@pytest.mark.parametrize("stream", [False, True])
async def test_f1_the_next_deployment_answers_for_a_failing_one(
    open_shop, engines: tuple[str, str], stream: bool
) -> None:
    shop = await open_shop(*engines)
    shop.upstream.always(Fault.ErrorEventFirst() if stream else Fault.ServerError(500))
    answer = await shop.post("/chat/completions", chat(shop.model, stream=stream))
    _good(shop, "/chat/completions", answer, stream=stream)
    assert [len(upstream.generations) for upstream in shop.upstreams] == [1, 1]
    record = await shop.only_record()
    assert record.usage.output == 12
    second = [one for one in shop.live.server.pool.deployments(shop.model) if one.priority == 1]
    assert record.deployment == second[0].id


async def test_all_attempts_fail_and_the_last_error_is_told(shop: Shop) -> None:
    shop.upstream.plan(Fault.ServerError(500), Fault.ServerError(503), Fault.ServerError(504))
    answer = await shop.post("/chat/completions", chat(shop.model))
    refusal(answer, 504, "timeout")
    assert len(shop.upstream.generations) == 3
    record = await shop.only_record()
    assert (record.outcome, record.status, record.charged_micro) == (Outcome.FAILED, 504, 0)


async def test_an_engine_that_asks_to_wait_is_not_hammered(shop: Shop) -> None:
    shop.upstream.always(Fault.RateLimited("20"))
    refusal(await shop.post("/chat/completions", chat(shop.model)), 429, "upstream_rate_limited")
    assert len(shop.upstream.generations) == 1
    refusal(await shop.post("/chat/completions", chat(shop.model)), 503, "no_capacity")
    assert len(shop.upstream.generations) == 1
    assert len(await shop.records()) == 1


async def test_what_has_begun_is_never_tried_again(open_shop) -> None:
    shop = await open_shop("openai", "openai")
    shop.upstream.plan(Fault.CutAfter(2))
    seen = read_stream((await shop.post("/chat/completions", chat(shop.model, stream=True))).content)
    assert len(seen.errors) == 1
    assert [len(upstream.generations) for upstream in shop.upstreams] == [1, 0]


@pytest.mark.parametrize("fails", [False, True])
async def test_the_dearest_price_is_held_and_that_of_whoever_answers_is_charged(shop: Shop, fails: bool) -> None:
    dear = await shop.price(f"{shop.model}-dear", {TokenClass.INPUT: "20.00", TokenClass.OUTPUT: "80.00"})
    fallback = await shop.deploy("openai", priority=5, sku=dear.sku)
    shop.upstream.plan(*[Fault.ServerError(500)] * fails)
    record = await shop.record(await shop.post("/chat/completions", chat(shop.model, max_tokens=12)))
    hold = await shop.hold(record.id)
    assert record.price_version == (dear if fails else shop.sheet).version
    assert record.charged_micro == (10 if fails else 1) * (2 * record.usage.input + 8 * 12)
    assert record.charged_micro <= hold.amount
    assert hold.amount >= 20 * record.usage.input + 80 * 12
    assert [len(engine.generations) for engine in (shop.upstream, fallback)] == [1, int(fails)]
