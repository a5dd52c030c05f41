"""Many requests at once against one cap: never more than it allows, and never less."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from surplus.app.keys import KeySpec
from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, Period
from surplus.identity.model import Limits
from surplus.metering.model import UsageRecord
from surplus.settings import Gateway
from tests.http.harness import CLOCK, PATIENCE_S, Shop, eventually, quick
from tests.http.reading import BODIES, GENERATING, MODES, chat, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1, slots=64))
STORES = ("sqlite", "postgres")

AT_ONCE = 50
FIT = 5


async def _probe(shop: Shop, path: str, body: dict[str, object]) -> tuple[int, int]:
    """What a request holds and what it is charged (micro-dollars), measured with another key."""
    client = await shop.client((await shop.new_key()).token)
    record = await shop.record(await client.post(path, json=body))
    return (await shop.hold(record.id)).amount, record.charged_micro


async def _all_at_once(shop: Shop, path: str, body: dict[str, object], admitted: int) -> list[httpx.Response]:
    """AT_ONCE answers to the same request, none of them whole before all have been admitted or refused."""
    before = len(shop.upstream.generations)
    shop.upstream.always(Fault.HoldFirstByte())
    client = await shop.client()
    asked = [asyncio.create_task(client.post(path, json=body)) for _ in range(AT_ONCE)]
    await eventually(lambda: sum(task.done() for task in asked) >= AT_ONCE - admitted, "the refusals")
    await shop.upstream.arrived(before + admitted)
    assert sum(task.done() for task in asked) == AT_ONCE - admitted
    shop.upstream.release()
    shop.upstream.heal()
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*asked)


async def _my_records(shop: Shop) -> Sequence[UsageRecord]:
    return [record for record in await shop.records() if record.key == shop.key.id]


async def _set_cap(shop: Shop, scope: BudgetScope, cap_micro: int) -> None:
    scope_id = {BudgetScope.KEY: shop.key.id, BudgetScope.PROJECT: shop.key.project}.get(scope)
    await shop.set_budget(scope=scope, scope_id=scope_id, cap_micro=cap_micro, period=Period.MONTH)


@pytest.mark.parametrize("scope", [BudgetScope.KEY, BudgetScope.PROJECT])
@pytest.mark.parametrize(("path", "stream"), MODES)
async def test_a1_fifty_at_once_share_a_budget_for_five(open_shop, path: str, stream: bool, scope: BudgetScope) -> None:
    """Exactly as many run as the budget has room for; the others are told that money will free."""
    shop = await open_shop("openai", key=KeySpec(project="agents"))
    body = {**BODIES[path](shop.model), **({"stream": True} if stream else {})}
    held, charged = await _probe(shop, path, body)
    cap = FIT * held
    await _set_cap(shop, scope, cap)
    answers = await _all_at_once(shop, path, body, FIT)
    good = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code != 200:
            refusal(answer, 429, "budget_in_flight")
            assert answer.headers.get("x-should-retry") != "false"
    records = await _my_records(shop)
    assert len(good) == len(records) == FIT
    assert sum(record.charged_micro for record in records) == FIT * charged <= cap


async def test_no_request_is_refused_while_money_that_is_not_held_suffices(open_shop) -> None:
    """Wave after wave, each is as wide as what is left allows, until not one more fits."""
    shop = await open_shop("openai")
    body = chat(shop.model)
    held, charged = await _probe(shop, "/chat/completions", body)
    left = 3 * held
    await _set_cap(shop, BudgetScope.KEY, left)
    while (fits := left // held) > 0:
        answers = await _all_at_once(shop, "/chat/completions", body, fits)
        assert [answer.status_code for answer in answers].count(200) == fits
        await shop.live.quiet()
        left -= fits * charged
    answer = await shop.post("/chat/completions", body)
    refusal(answer, 429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


async def test_the_wallet_is_shared_as_a_budget_is(open_shop) -> None:
    shop = await open_shop("openai", credit="0.005")
    held, _ = await _probe(shop, "/chat/completions", chat(shop.model))
    fits = (await shop.funds()).available // held
    assert 0 < fits < AT_ONCE
    answers = await _all_at_once(shop, "/chat/completions", chat(shop.model), fits)
    assert [answer.status_code for answer in answers].count(200) == fits
    assert (await shop.funds()).available >= 0


async def test_a4_concurrent_first_requests_cannot_slip_past_a_new_budget(open_shop) -> None:
    """The first hold opens the budget's account, and all of them are first."""
    shop = await open_shop("openai")
    held, charged = await _probe(shop, "/chat/completions", chat(shop.model))
    fresh = await shop.new_key(budget_micro=held, budget_period=Period.DAY)
    client = await shop.client(fresh.token)
    shop.upstream.always(Fault.HoldFirstByte())
    asked = [asyncio.create_task(client.post("/chat/completions", json=chat(shop.model))) for _ in range(20)]
    await eventually(lambda: sum(task.done() for task in asked) == 19, "the refusals")
    await shop.upstream.arrived(2)
    shop.upstream.release()
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 19
    await shop.live.quiet()
    (state,) = await shop.live.read(billing.list_budgets, shop.org.id, now=CLOCK.now())
    assert (state.spent_micro, state.held_micro) == (charged, 0)


@pytest.mark.parametrize("engine", ["openai", "vllm"])
async def test_callers_who_keep_trying_never_overspend_together(open_shop, engine: str) -> None:
    """Agents that retry for as long as they are told that it helps; a mixture of both modes; engines that fail."""
    shop = await open_shop(engine)
    held, charged = await _probe(shop, "/chat/completions", chat(shop.model))
    cap = 3 * held + 4 * charged
    await _set_cap(shop, BudgetScope.ORGANIZATION, cap + charged)  # the probe is in it too
    client = await shop.client()

    async def keep_trying(number: int) -> None:
        path = GENERATING[number % 2]
        body = BODIES[path](shop.model, stream=number % 3 == 0)
        for _ in range(200):
            answer = await client.post(path, json=body)
            if answer.status_code == 200 and number % 3 == 0:
                read_stream(answer.content)
            if answer.status_code == 429 and answer.headers.get("x-should-retry") == "false":
                return

    await asyncio.gather(*(keep_trying(number) for number in range(12)))
    records = await shop.records()
    spent = sum(record.charged_micro for record in records)
    assert spent <= cap + charged
    assert spent > cap - held  # it was really used up: what is left would not pay for one more


async def test_b13_a_full_server_asks_to_wait_and_drops_nothing(open_shop) -> None:
    """Every slot is taken: the next request is told so before it costs anything, and all records are kept."""
    shop = await open_shop("openai", key=KeySpec(limits=Limits()))
    shop.upstream.always(Fault.HoldFirstByte())
    client = await shop.client()
    asked = [asyncio.create_task(client.post("/chat/completions", json=chat(shop.model))) for _ in range(64)]
    await shop.upstream.arrived(64)
    refusal(await shop.post("/chat/completions", chat(shop.model)), 503, "slots_full")
    shop.upstream.release()
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 64
    assert len(await shop.records()) == 64
