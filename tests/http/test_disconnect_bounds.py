"""How long a provider is heard out for nobody: until the bound, and never longer, whatever it is doing."""

import asyncio

import pytest

from surplus.metering.model import Outcome
from surplus.settings import Gateway
from tests.http.harness import PATIENCE_S, Shop, quick
from tests.http.reading import BODIES, GENERATING, MODES, as_request, chat
from tests.upstream import Fault, Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1, drain_upstream_s=0.2))


async def _given_up(shop: Shop) -> Seen:
    """The provider's side of the request, once we have hung up on it."""
    seen = shop.upstream.generations[0]
    async with asyncio.timeout(PATIENCE_S):
        await seen.gone.wait()
    return seen


@pytest.mark.parametrize("path", GENERATING)
async def test_a_provider_that_stalls_is_given_up_and_estimated(shop: Shop, path: str) -> None:
    shop.upstream.plan(Fault.StallAfter(6))
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model, stream=True, max_tokens=20)))
    await caller.has(b" is")
    await shop.hang_up(caller)
    seen = await _given_up(shop)
    record = await shop.only_record()
    assert record.outcome is Outcome.ABORTED
    assert record.degraded
    assert 5 <= record.usage.output <= 20
    assert record.usage.input > 0
    assert seen.generated_tokens < 12


async def test_a_provider_that_never_stops_is_given_up(shop: Shop) -> None:
    """Tokens keep coming, so no silence ends it; the bound does."""
    shop.upstream.plan((Fault.Answer(100_000), Fault.Paced(0.01)))
    body = chat(shop.model, stream=True, max_tokens=1000)
    caller = await shop.dial(as_request(shop, "/chat/completions", body))
    await caller.has(b"Hello")
    await shop.hang_up(caller)
    seen = await _given_up(shop)
    record = await shop.only_record()
    assert (record.outcome, record.degraded) == (Outcome.ABORTED, True)
    assert record.usage.output >= 1
    assert seen.generated_tokens < 1000


@pytest.mark.parametrize(("path", "stream"), MODES)
async def test_a_provider_that_never_begins_is_given_up(shop: Shop, path: str, stream: bool) -> None:
    shop.upstream.plan(Fault.HoldFirstByte())
    fields = {"stream": True} if stream else {}
    caller = await shop.dial(as_request(shop, path, BODIES[path](shop.model, **fields)))
    await shop.upstream.arrived()
    await shop.hang_up(caller)
    await _given_up(shop)
    record = await shop.only_record()
    assert (record.outcome, record.degraded, record.usage.output) == (Outcome.ABORTED, True, 0)
    assert record.usage.input > 0  # it has read the prompt, and will bill it


async def test_a_provider_is_not_asked_to_count(shop: Shop) -> None:
    """Only engines of ours have a tokenizer for us."""
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
    await shop.upstream.arrived()
    await shop.hang_up(caller)
    await shop.only_record()
    assert not [seen for seen in shop.upstream.requests if "tokenize" in seen.path or "template" in seen.path]


async def test_callers_who_stay_are_not_bound(shop: Shop) -> None:
    shop.upstream.plan((Fault.Answer(60), Fault.Paced(0.01)))
    answer = await shop.post("/chat/completions", chat(shop.model, stream=True))
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert (await shop.only_record()).usage.output == 60
