"""Hard budgets: what a customer allows to be spent is never exceeded, and what it allows is not refused."""

import asyncio

import httpx
import pytest

from surplus.app.keys import KeySpec
from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, BudgetState, Period
from surplus.billing.rating import TokenClass
from surplus.identity import service as identity
from surplus.identity.model import Limits
from surplus.kit.money import format_dollars, parse_dollars
from surplus.metering.model import UsageRecord
from surplus.settings import Gateway
from tests.http.harness import CLOCK, IDS, WIDE, Shop, eventually, quick
from tests.http.reading import BODIES, chat, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1))
STORES = ("sqlite", "postgres")

PROJECT = KeySpec(project="research", limits=WIDE)
EVERY_SCOPE = [
    (BudgetScope.ORGANIZATION, Period.DAY),
    (BudgetScope.ORGANIZATION, Period.MONTH),
    (BudgetScope.PROJECT, Period.MONTH),
    (BudgetScope.PROJECT, Period.FOREVER),
    (BudgetScope.KEY, Period.DAY),
    (BudgetScope.KEY, Period.FOREVER),
]


async def _cap(shop: Shop, scope: BudgetScope, cap_micro: int, period: Period = Period.FOREVER, **more) -> BudgetState:
    scope_id = {BudgetScope.ORGANIZATION: None, BudgetScope.PROJECT: shop.key.project, BudgetScope.KEY: shop.key.id}
    return await shop.set_budget(scope=scope, scope_id=scope_id[scope], cap_micro=cap_micro, period=period, **more)


async def _ask(shop: Shop, **fields: object) -> httpx.Response:
    return await shop.post("/chat/completions", chat(shop.model, max_tokens=40, **fields))


async def _probe(shop: Shop) -> tuple[int, int]:
    """What `_ask` holds and what it is charged (micro-dollars)."""
    record = await shop.record(await _ask(shop))
    return (await shop.hold(record.id)).amount, record.charged_micro


async def _budgets(shop: Shop) -> dict[str, tuple[int, int]]:
    """What each budget has spent and holds."""
    states = await shop.live.read(billing.list_budgets, shop.org.id, now=CLOCK.now())
    return {state.budget.id: (state.spent_micro, state.held_micro) for state in states}


@pytest.mark.parametrize(("scope", "period"), EVERY_SCOPE)
@pytest.mark.parametrize("path", BODIES)
async def test_a5_a_budget_of_zero_blocks_at_every_scope(open_shop, path: str, scope, period) -> None:
    shop = await open_shop("openai", key=PROJECT)
    state = await _cap(shop, scope, 0, period)
    answer = await shop.post(path, BODIES[path](shop.model))
    error = refusal(answer, 429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert f"budget of this {scope}" in error["message"]
    assert not shop.upstream.generations  # refused before anything was spent, not after
    assert await _budgets(shop) == {state.budget.id: (0, 0)}


@pytest.mark.parametrize("path", BODIES)
async def test_a_wallet_without_credit_blocks(open_shop, path: str) -> None:
    shop = await open_shop("openai", credit="0")
    error = refusal(await shop.post(path, BODIES[path](shop.model)), 429, "insufficient_quota")
    assert "wallet of this organization" in error["message"]
    assert not shop.upstream.generations


async def test_a_soft_budget_counts_and_does_not_block(open_shop) -> None:
    shop = await open_shop("openai", key=PROJECT)
    state = await _cap(shop, BudgetScope.KEY, 1, hard=False)
    record = await shop.record(await _ask(shop))
    assert await _budgets(shop) == {state.budget.id: (record.charged_micro, 0)}


@pytest.mark.parametrize("tight", list(BudgetScope))
async def test_a3_all_scopes_are_held_in_one_go_or_none(open_shop, tight: BudgetScope) -> None:
    """The one that is too small refuses, and nothing is left behind in those that had room."""
    shop = await open_shop("openai", key=PROJECT)
    for scope in BudgetScope:
        await _cap(shop, scope, 10 if scope is tight else 1_000_000)
    error = refusal(await _ask(shop), 429, "insufficient_quota")
    assert f"budget of this {tight}" in error["message"]
    assert set((await _budgets(shop)).values()) == {(0, 0)}
    assert (await shop.funds()).available == parse_dollars("10")


async def test_nested_budgets_count_every_request_at_every_level(open_shop) -> None:
    shop = await open_shop("openai", key=PROJECT)
    for scope in BudgetScope:
        await _cap(shop, scope, 1_000_000)
        await _cap(shop, scope, 2_000_000, Period.DAY)
    charged = sum([(await shop.record(await _ask(shop))).charged_micro for _ in range(3)])
    assert list((await _budgets(shop)).values()) == [(charged, 0)] * 6


async def test_another_keys_spending_is_not_ours(open_shop) -> None:
    shop = await open_shop("openai", key=PROJECT)
    await _cap(shop, BudgetScope.KEY, 0)
    other = await shop.new_key()
    refusal(await _ask(shop), 429, "insufficient_quota")
    client = await shop.client(other.token)
    assert (await client.post("/chat/completions", json=chat(shop.model))).status_code == 200


async def test_a2_the_cap_is_a_cap_and_not_a_warning(shop: Shop) -> None:
    """One request after another, until the next one might not fit: then it is refused, and never before."""
    held, charged = await _probe(shop)
    cap = 4 * held
    await _cap(shop, BudgetScope.KEY, cap)
    answers: list[UsageRecord] = []
    while (answer := await _ask(shop)).status_code == 200:
        answers.append(await shop.record(answer))
    refusal(answer, 429, "insufficient_quota")
    assert len(answers) == (cap - held) // charged + 1
    assert sum(record.charged_micro for record in answers) <= cap


async def test_a6_held_and_spent_money_are_told_apart_and_free_at_once(shop: Shop) -> None:
    held, charged = await _probe(shop)
    state = await _cap(shop, BudgetScope.KEY, held + charged)
    shop.upstream.plan(Fault.HoldFirstByte())
    first = asyncio.create_task(_ask(shop))
    await shop.upstream.arrived(2)
    assert await _budgets(shop) == {state.budget.id: (0, held)}
    error = refusal(await _ask(shop), 429, "budget_in_flight")
    assert f"{format_dollars(charged)} USD available and {format_dollars(held)} USD held" in error["message"]
    shop.upstream.release()
    await shop.record(await first)
    assert await _budgets(shop) == {state.budget.id: (charged, 0)}
    assert (await _ask(shop)).status_code == 200


async def test_a7_a_refusal_does_not_outlive_its_reason(shop: Shop) -> None:
    await _cap(shop, BudgetScope.KEY, 0)
    refusal(await _ask(shop), 429, "insufficient_quota")
    await _cap(shop, BudgetScope.KEY, 1_000_000)
    assert (await _ask(shop)).status_code == 200


async def test_a9_a_raised_a_lowered_and_a_deleted_budget_hold_from_the_next_request_on(shop: Shop) -> None:
    held, _ = await _probe(shop)
    await _cap(shop, BudgetScope.KEY, held)
    assert (await _ask(shop)).status_code == 200
    state = await _cap(shop, BudgetScope.KEY, 1)
    refusal(await _ask(shop), 429, "insufficient_quota")
    deleted = {"org": shop.org.id, "budget_id": state.budget.id, "now": CLOCK.now()}
    await shop.live.change(billing.delete_budget, IDS, **deleted)
    assert (await _ask(shop)).status_code == 200


async def test_a8_a_rejected_retry_changes_nothing(open_shop) -> None:
    """Neither the books nor the rate limit know of it, so that retrying does not prolong what it waits for."""
    shop = await open_shop("openai", key=KeySpec(limits=Limits(rpm=5, tpm=100_000, concurrency=2)))
    await _cap(shop, BudgetScope.KEY, 10)
    before = (await shop.live.verify()).head_hash, await _budgets(shop), await shop.funds()
    for _ in range(12):
        refusal(await _ask(shop), 429, "insufficient_quota")
    await shop.live.server.funds.settle_releases()
    assert ((await shop.live.verify()).head_hash, await _budgets(shop), await shop.funds()) == before
    await _cap(shop, BudgetScope.KEY, 1_000_000)
    assert (await _ask(shop)).headers["x-ratelimit-remaining-requests"] == "4"


async def test_a10_a_rotated_key_keeps_its_budget(shop: Shop) -> None:
    """Budgets belong to the key's lasting id, not to its secret."""
    held, _ = await _probe(shop)
    state = await _cap(shop, BudgetScope.KEY, held)
    spent = (await shop.record(await _ask(shop))).charged_micro
    rotated = await shop.live.change(identity.rotate_key, IDS, shop.key.id, now=CLOCK.now())
    client = await shop.client(rotated.token)
    refusal(await client.post("/chat/completions", json=chat(shop.model, max_tokens=40)), 429, "insufficient_quota")
    assert await _budgets(shop) == {state.budget.id: (spent, 0)}
    refusal(await _ask(shop), 401, "invalid_api_key")


async def test_a14_a_budget_given_with_a_key_is_kept_shown_and_enforced(shop: Shop) -> None:
    """Over the control plane; and a field that has no meaning there is refused, not ignored."""
    operator = {"authorization": f"Bearer {shop.live.operator_token}"}
    async with httpx.AsyncClient(base_url=f"{shop.live.root}/api/organizations/{shop.org.id}", headers=operator) as api:
        made = (await api.post("/keys", json={"budget": "0.000010", "budget_period": "month", "rpm": 7})).json()
        (budget,) = (await api.get("/budgets")).json()
        ignored = await api.post("/keys", json={"max_budget": "1"})
    assert (budget["scope_id"], budget["cap"], budget["period"]) == (made["id"], "0.000010", "month")
    assert ignored.status_code == 400
    client = await shop.client(made["key"])
    refusal(await client.post("/chat/completions", json=chat(shop.model)), 429, "insufficient_quota")


async def test_a15_somebody_is_told_at_50_80_and_100_percent_of_the_right_budget(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    _, charged = await _probe(shop)
    await _cap(shop, BudgetScope.KEY, 15_000_000)
    small = await _cap(shop, BudgetScope.ORGANIZATION, 4 * charged, hard=False)

    def told() -> list[tuple[str, int]]:
        fields = [record.fields for record in caplog.records if record.getMessage() == "budget.threshold"]
        return [(alert["budget"], alert["percent"]) for alert in fields if alert["org"] == shop.org.id]

    for _ in range(2):
        await shop.record(await _ask(shop))
    await eventually(told, "the first alert")
    assert told() == [(small.budget.id, 50)]
    for _ in range(2):
        await shop.record(await _ask(shop))
    await eventually(lambda: len(told()) >= 3, "the other alerts")
    assert told() == [(small.budget.id, percent) for percent in (50, 80, 100)]


async def test_a16_a_price_for_a_token_that_was_meant_for_a_million_is_refused(shop: Shop) -> None:
    operator = {"authorization": f"Bearer {shop.live.operator_token}"}
    async with httpx.AsyncClient(base_url=shop.live.root, headers=operator) as api:
        slip = await api.post("/api/prices", json={"model": "slip", "input": "20000", "output": "80000"})
    assert slip.status_code == 400
    assert "slip of units" in slip.json()["error"]["message"]


@pytest.mark.parametrize("path", BODIES)
async def test_c8_a_model_without_a_price_is_refused_and_never_free(open_shop, path: str) -> None:
    sku = IDS.new("sku")
    shop = await open_shop("openai", sku=sku)
    dollars = {TokenClass.INPUT: "1.00", TokenClass.OUTPUT: "1.00"}
    await shop.price(sku, dollars, effective_from=CLOCK.now() + 3600)
    answer = await shop.post(path, BODIES[path](shop.model))
    refusal(answer, 503, "model_not_priced")
    assert answer.headers["x-should-retry"] == "false"
    assert not shop.upstream.generations
    await shop.price(sku, dollars)
    assert (await shop.post(path, BODIES[path](shop.model))).status_code == 200
    assert (await shop.only_record()).charged_micro > 0
