"""Every fault of an engine, in a whole answer: endpoint x engine x fault, and always the same assertions."""

from dataclasses import dataclass

import pytest

from surplus.billing.rating import TokenClass
from surplus.ledger import service as ledger
from surplus.ledger.model import EntryKind
from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import Shop, quick
from tests.http.reading import BODIES, GENERATING, MODES, check_headers, refusal
from tests.upstream import Fault
from tests.upstream.behaviour import Behaviour

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1, idle_timeout_s=0.3, retry_pause_s=0.001))

ENGINES = ("openai", "vllm", "llama-server")
LIMIT = 40


@dataclass(frozen=True)
class Case:
    """A fault, and what the caller gets: 200 without a code, or the status and code of an error."""

    fault: Behaviour
    status: int = 200
    code: str = ""
    exact: bool = True
    everywhere: bool = True  # on embeddings too


CASES = [
    Case(Fault.Healthy()),
    Case(Fault.DelayFirstByte(0.05)),
    Case(Fault.OneByteWrites()),
    Case(Fault.HugeEvent()),
    Case(Fault.WrongContentType()),
    Case(Fault.NullUsageDetails()),
    Case(Fault.Cached(4), everywhere=False),
    Case(Fault.Answer(LIMIT), everywhere=False),
    Case(Fault.NoFinishReason(), everywhere=False),
    Case(Fault.NoUsage(), exact=False),
    Case(Fault.ZeroUsage(), exact=False),
    Case(Fault.NegativeUsage(), exact=False),
    Case(Fault.CachedAbovePrompt(), exact=False),
    Case(Fault.CloseBeforeAnyByte(), 502, "upstream_error"),
    Case(Fault.ResetBeforeHeaders(), 502, "upstream_error"),
    Case(Fault.ResetAfterHeaders(), 502, "upstream_error"),
    Case(Fault.CutAfter(3), 502, "upstream_error", everywhere=False),
    Case(Fault.ResetAfter(3), 502, "upstream_error", everywhere=False),
    Case(Fault.TruncatedBody(), 502, "upstream_error"),
    Case(Fault.MalformedJson(), 502, "upstream_error"),
    Case(Fault.InvalidUtf8(), 502, "upstream_error", everywhere=False),
    Case(Fault.ErrorBodyWithStatus200(), 502, "upstream_error"),
    Case(Fault.HtmlWithStatus200(), 502, "upstream_error"),
    Case(Fault.EmptyBody(), 502, "upstream_error"),
    Case(Fault.RateLimited(), 429, "upstream_rate_limited"),
    Case(Fault.ServerError(500), 502, "upstream_error"),
    Case(Fault.ServerError(503), 503, "no_capacity"),
    Case(Fault.ServerError(504, html=True), 504, "timeout"),
    Case(Fault.ContextLengthExceeded(), 400, "context_length_exceeded"),
    Case(Fault.ContentFiltered(), 400, "content_filter"),
    Case(Fault.Unauthorized(), 502, "upstream_error"),
    Case(Fault.NotFound(), 502, "upstream_error"),
    Case(Fault.TooLarge(), 413, "too_large"),
]
RUNS = [(path, case) for path in BODIES for case in CASES if case.everywhere or path in GENERATING]


def _limit(path: str) -> dict[str, int]:
    return {"max_tokens": LIMIT} if path in GENERATING else {}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("path", "case"), RUNS, ids=lambda it: repr(it.fault) if isinstance(it, Case) else it)
async def test_an_answer_is_whole_and_charged_or_it_is_free(open_shop, path: str, engine: str, case: Case) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(case.fault)
    answer = await shop.post(path, BODIES[path](shop.model, **_limit(path)))
    seen = shop.upstream.generations[0]
    record = await shop.only_record()
    assert (record.status, record.stream) == (case.status, False)
    if case.code:
        refusal(answer, case.status, case.code)
        assert record.outcome is Outcome.FAILED
        assert (record.charged_micro, record.usage.input, record.usage.output) == (0, 0, 0)
        return
    check_headers(answer)
    assert answer.status_code == 200
    assert answer.json().get("id", seen.id) == seen.id
    assert len(answer.json().get("choices") or answer.json()["data"]) == 1
    assert record.outcome is Outcome.COMPLETED
    assert record.degraded is not case.exact
    assert record.usage.input > 0
    assert (seen.generated_tokens if case.exact else 0) <= record.usage.output <= LIMIT
    if case.exact:
        assert (record.usage.input, record.usage.output) == (seen.prompt_tokens, seen.generated_tokens)
        assert record.usage.cache_read == seen.cached_tokens


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_claims_more_than_was_held_is_charged_no_further(
    open_shop, path: str, engine: str, stream: bool
) -> None:
    """The record keeps what the engine said; what is above the hold is the operator's loss."""
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.UsageAboveLimit(1_000_000))
    await shop.post(path, BODIES[path](shop.model, stream=stream, max_tokens=LIMIT))
    record = await shop.only_record()
    hold = await shop.hold(record.id)
    assert record.usage.output == LIMIT + 1_000_000
    assert record.charged_micro == hold.amount
    assert record.overrun_micro == record.cost_micro - hold.amount > 0
    assert (await shop.funds()).settled == hold.amount


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("stream", [False, True])
async def test_c1_a_cached_token_is_charged_once_at_its_own_price(
    open_shop, path: str, engine: str, stream: bool
) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.Cached(3))
    await shop.post(path, BODIES[path](shop.model, stream=stream))
    seen = shop.upstream.generations[0]
    record = await shop.only_record()
    assert (record.usage.uncached, record.usage.cache_read) == (seen.prompt_tokens - 3, 3)
    # 2.00, 0.50 and 8.00 dollars per million: a cached token costs half a micro-dollar, and the half is carried.
    assert record.charged_micro == (4 * record.usage.uncached + 3 + 16 * 12) // 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stream", [False, True])
async def test_c5_reasoning_is_a_part_of_the_output(open_shop, engine: str, stream: bool) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.Reasoning(5))
    await shop.post("/chat/completions", BODIES["/chat/completions"](shop.model, stream=stream))
    record = await shop.only_record()
    assert record.usage.output == 17 == shop.upstream.usage.completion
    assert record.usage.reasoning == 5
    assert record.charged_micro == 2 * record.usage.input + 8 * 17


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stream", [False, True])
async def test_c4_a_cached_token_without_a_price_of_its_own_costs_what_input_costs(
    open_shop, engine: str, stream: bool
) -> None:
    shop = await open_shop(engine, price={TokenClass.INPUT: "3.00", TokenClass.OUTPUT: "0.00"})
    shop.upstream.plan(Fault.Cached(5))
    await shop.post("/chat/completions", BODIES["/chat/completions"](shop.model, stream=stream))
    record = await shop.only_record()
    assert record.usage.cache_read == 5
    assert record.charged_micro == 3 * shop.upstream.generations[0].prompt_tokens


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("path", "stream"), MODES)
async def test_b12_an_answer_without_usage_leaves_a_degraded_record_and_not_none(
    open_shop, path: str, engine: str, stream: bool
) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.NoUsage())
    fields = {"stream": True} if stream else {}
    assert (await shop.post(path, BODIES[path](shop.model, **fields))).status_code == 200
    record = await shop.only_record()
    assert record.degraded
    assert record.charged_micro > 0
    assert record.usage.output >= shop.upstream.usage.completion


@pytest.mark.parametrize(("path", "stream"), MODES)
async def test_c11_a_request_is_charged_its_cost_and_charged_once(shop: Shop, path: str, stream: bool) -> None:
    """Not one per request, and not again at the end of a stream: one entry in the ledger, for what was used."""
    fields = {"stream": True} if stream else {}
    await shop.post(path, BODIES[path](shop.model, **fields))
    record = await shop.only_record()
    entries = await shop.live.read(ledger.entries, f"wallet:{shop.org.id}", limit=100)
    charges = [entry.amount_micro for entry in entries if entry.kind is EntryKind.CHARGE]
    assert charges == [record.charged_micro] == [record.cost_micro]
    assert record.cost_micro == 2 * record.usage.input + 8 * record.usage.output
