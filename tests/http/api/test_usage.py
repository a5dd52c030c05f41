"""Usage, records and invoices over HTTP."""

from decimal import Decimal
from typing import Any

import pytest

from surplus.billing import service as billing
from surplus.kit.db import WriteSession
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger import service as ledger
from surplus.ledger.commands import PlaceHold, PostHold
from surplus.ledger.model import AccountKind, Posted, Scope
from surplus.metering import service as metering
from surplus.metering.model import Outcome, UsageRecord
from surplus.metering.usage import TokenUsage
from tests.http.world import NOW, World

ACME = "/api/organizations/acme"
USAGE = TokenUsage(uncached=1000, cache_read=300, cache_write=7, output=50, reasoning=11)


async def publish(world: World) -> str:
    prices = {"model": "tiny", "input": "0.0175", "output": "0.1230000001", "cache_read": "0.001"}
    return (await world.ok("operator", "POST", "/api/prices", prices))["version"]


def use(world: World, number: int, version: str, *, key: str = "key_2", project: str | None = None, at: float = NOW):
    """Charge and record one request as the gateway's loader does."""

    def work(session: WriteSession) -> None:
        session.exclusive(metering.LOCK)
        grains = billing.price_sheet(session, "tiny", version).grains(USAGE)
        hold = f"req_{number}"
        place = PlaceHold(hold, Scope(f"wallet:{world.acme.id}", AccountKind.WALLET, 0), (), 1_000_000, at + 60, hold)
        _, posted = ledger.apply(session, [place, PostHold(hold, grains, "revenue:tokens", hold, at)], now=at)
        assert isinstance(posted, Posted)
        micro, rest = divmod(grains, GRAINS_PER_MICRO)
        record = UsageRecord(
            id=hold,
            org=world.acme.id,
            project=project,
            key=key,
            model="tiny",
            deployment="dep_1",
            sku="tiny",
            price_version=version,
            endpoint="chat.completions",
            stream=True,
            outcome=Outcome.COMPLETED,
            status=200,
            usage=USAGE,
            cost_micro=micro,
            cost_rest_grains=rest,
            charged_micro=posted.charged_micro,
            overrun_micro=posted.overrun_micro,
            degraded=False,
            started_at=at,
            first_token_at=at + 0.25,
            ended_at=at + 1.5,
            engine_request_id=None,
        )
        metering.record(session, [record])

    world.database.write_now(work)


def sums(requests: int, charged: str) -> dict[str, Any]:
    return {
        "requests": requests,
        "input_tokens": requests * 1307,
        "cached_input_tokens": requests * 300,
        "cache_write_tokens": requests * 7,
        "output_tokens": requests * 50,
        "charged": charged,
    }


async def test_usage_adds_up_in_all_and_by_model(world: World):
    version = await publish(world)
    for number in range(3):
        use(world, number, version)
    # 1007 x 0.0175 + 300 x 0.001 + 50 x 0.1230000001 = 24.072500005 micro-dollars a request
    expected = sums(3, "0.000072")
    found = await world.ok("developer", "GET", f"{ACME}/usage")
    assert found == {**expected, "models": [{"model": "tiny", **expected}]}
    balance = await world.ok("finance", "GET", f"{ACME}/balance")
    assert balance["settled"] == found["charged"]
    nothing = await world.ok("rival", "GET", "/api/organizations/rival/usage")
    assert nothing == {**sums(0, "0.000000"), "models": []}


async def test_usage_of_a_project_a_key_and_a_time(world: World):
    version = await publish(world)
    project = await world.ok("admin", "POST", f"{ACME}/projects", {"name": "web"})
    key = await world.ok("admin", "POST", f"{ACME}/keys", {"project": "web"})
    use(world, 1, version)
    use(world, 2, version, key=key["id"], project=project["id"], at=NOW + 3600)
    for query, requests in [
        ("", 2),
        ("project=WEB", 1),
        (f"project={project['id']}", 1),
        (f"key={key['id']}", 1),
        ("from=2026-11-21T10:00:00Z", 1),
        ("to=2026-11-21T10:00:00Z", 1),
        ("from=2026-11-21T10:00:00%2B01:00&to=2026-11-21T11:00:00Z", 2),
        ("from=2026-11-21T11:00:00Z", 0),
    ]:
        assert (await world.ok("developer", "GET", f"{ACME}/usage?{query}"))["requests"] == requests, query


@pytest.mark.parametrize(
    ("query", "param", "status"),
    [
        ("project=none", "project", 404),
        ("key=none", "key", 404),
        ("from=yesterday", "from", 400),
        ("to=2026-11-21", "to", 400),
        ("to=1900-01-01T00:00:00Z", "to", 400),
    ],
)
async def test_bad_choices_are_refused(world: World, query: str, param: str, status: int):
    error = await world.refused("developer", "GET", f"{ACME}/usage?{query}")
    assert (error["status"], error["param"]) == (status, param)


async def test_records_come_newest_first_page_by_page(world: World):
    version = await publish(world)
    for number in range(3):
        use(world, number, version, at=NOW + number)
    found = await world.ok("developer", "GET", f"{ACME}/records")
    assert [one["id"] for one in found] == ["req_2", "req_1", "req_0"]
    assert found[2] == {
        "id": "req_0",
        "project": None,
        "key": "key_2",
        "model": "tiny",
        "deployment": "dep_1",
        "endpoint": "chat.completions",
        "stream": True,
        "outcome": "completed",
        "status": 200,
        "input_tokens": 1307,
        "cached_input_tokens": 300,
        "cache_write_tokens": 7,
        "output_tokens": 50,
        "reasoning_tokens": 11,
        "cost": "0.000024072500005",
        "charged": "0.000024",
        "overrun": "0.000000",
        "degraded": False,
        "started_at": "2026-11-21T09:00:00Z",
        "first_token_at": "2026-11-21T09:00:00.250000Z",
        "ended_at": "2026-11-21T09:00:01.500000Z",
    }
    assert await world.ok("developer", "GET", f"{ACME}/records?limit=1&before=req_2") == found[1:2]
    assert (await world.refused("developer", "GET", f"{ACME}/records?before=none"))["status"] == 404
    assert (await world.refused("developer", "GET", f"{ACME}/records?limit=1001"))["status"] == 400
    assert (await world.refused("rival", "GET", "/api/organizations/rival/records?before=req_1"))["status"] == 404


async def test_an_invoice_is_exact_to_the_last_digit(world: World):
    version = await publish(world)
    for number in range(3):
        use(world, number, version)
    found = await world.ok("finance", "GET", f"{ACME}/invoice?month=2026-11")
    assert found == await world.ok("finance", "GET", f"{ACME}/invoice")
    facts = [found[name] for name in ("organization", "organization_id", "month", "status", "requests", "currency")]
    assert facts == ["acme", world.acme.id, "2026-11", "draft", 3, "USD"]
    assert [tuple(line.values()) for line in found["lines"]] == [
        ("tiny", "input", 3000, "0.0175", "0.0000525"),
        ("tiny", "cache_read", 900, "0.001", "0.0000009"),
        ("tiny", "cache_write", 21, "0.0175", "0.0000003675"),
        ("tiny", "output", 150, "0.1230000001", "0.000018450000015"),
    ]
    assert found["adjustments"] == [{"name": "carried to the next charge", "amount": "-0.000000217500015"}]
    amounts = [Decimal(one["amount"]) for one in (*found["lines"], *found["adjustments"])]
    assert sum(amounts) == Decimal(found["total"]) == Decimal("0.000072")
    assert found["total"] == (await world.ok("finance", "GET", f"{ACME}/balance"))["settled"]


async def test_the_invoice_of_another_month_is_empty_and_of_no_month_is_refused(world: World):
    use(world, 1, await publish(world))
    empty = await world.ok("finance", "GET", f"{ACME}/invoice?month=2026-10")
    assert (empty["lines"], empty["total"], empty["month"]) == ([], "0.000000", "2026-10")
    for month in ("2026-13", "november", "2026-11-21", ""):
        error = await world.refused("finance", "GET", f"{ACME}/invoice?month={month}")
        assert (error["status"], error["param"]) == (400, "month")
