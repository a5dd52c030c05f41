"""Credit, credit limits, balances, entries and budgets."""

from typing import Any

import pytest

from surplus.kit.db import WriteSession
from surplus.kit.errors import SurplusError
from surplus.kit.money import parse_dollars
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, PlaceHold, PostHold
from surplus.ledger.model import AccountKind, Scope
from tests.http.world import NOW, World

ACME = "/api/organizations/acme"
GRAINS_PER_DOLLAR = 9_000_000 * 10**12


def apply(world: World, *commands: Command, now: float = NOW) -> None:
    def work(session: WriteSession) -> None:
        for outcome in ledger.apply(session, commands, now=now):
            assert not isinstance(outcome, SurplusError), outcome

    world.database.write_now(work)


def hold(world: World, name: str, dollars: str, *budgets: str) -> PlaceHold:
    scopes = tuple(Scope(budget, AccountKind.BUDGET, None) for budget in budgets)
    wallet = Scope(f"wallet:{world.acme.id}", AccountKind.WALLET, 0)
    return PlaceHold(name, wallet, scopes, parse_dollars(dollars), NOW + 60, name)


def post(name: str, dollars: int) -> PostHold:
    return PostHold(name, dollars * GRAINS_PER_DOLLAR, "revenue:tokens", name, NOW)


def balance(available: str, held: str, settled: str, credit: str) -> dict[str, str]:
    return {"available": available, "held": held, "settled": settled, "credit": credit}


async def test_credit_is_available_and_held_and_settled_at_every_instant(world: World):
    read = ("finance", "GET", f"{ACME}/balance")
    assert await world.ok(*read) == balance("15.000000", "0.000000", "0.000000", "15.000000")
    apply(world, hold(world, "req_1", "4"), hold(world, "req_2", "2"))
    assert await world.ok(*read) == balance("9.000000", "6.000000", "0.000000", "15.000000")
    apply(world, post("req_1", 3))
    assert await world.ok(*read) == balance("10.000000", "2.000000", "3.000000", "15.000000")
    world.clock.advance(60)  # the other one expires
    assert await world.ok(*read) == balance("12.000000", "0.000000", "3.000000", "15.000000")


async def test_credit_adds_up(world: World):
    first = await world.ok("operator", "POST", f"{ACME}/credit", {"amount": "0.000001", "note": "invoice 17"})
    assert first == balance("15.000001", "0.000000", "0.000000", "15.000001")
    second = await world.ok("operator", "POST", f"{ACME}/credit", {"amount": "0.000001", "note": "invoice 17"})
    assert second["credit"] == "15.000002"
    entry = (await world.ok("admin", "GET", f"{ACME}/entries"))[-1]
    assert (entry["kind"], entry["change"], entry["ref"]) == ("transfer", "0.000001", "invoice 17")


async def test_the_operators_own_wallet_opens_with_its_first_credit(world: World):
    path = "/api/organizations/operator"
    assert (await world.ok("operator", "POST", f"{path}/credit", {"amount": "3"}))["available"] == "3.000000"
    assert (await world.ok("operator", "PUT", f"{path}/credit-limit", {"credit_limit": "1"}))["credit"] == "4.000000"


async def test_the_same_idempotency_key_books_once(world: World):
    same = {"path": f"{ACME}/credit", "json": {"amount": "5", "note": "a"}, "headers": {"Idempotency-Key": "wire-1"}}
    first = await world.ok("operator", "POST", **same)
    world.clock.advance(3600)
    before = world.rows()
    assert await world.ok("operator", "POST", **same) == first
    assert world.rows() == before
    for body, param in (({"amount": "6", "note": "a"}, "amount"), ({"amount": "5", "note": "b"}, "note")):
        error = await world.refused("operator", "POST", f"{ACME}/credit", body, headers=same["headers"])
        assert (error["status"], error["code"], error["param"]) == (409, "idempotency_conflict", param)
        assert "'wire-1'" in error["message"]
    other = await world.ok("operator", "POST", **{**same, "path": "/api/organizations/rival/credit"})
    assert other["credit"] == "5.000000"  # a key counts within one organization


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": 5}, "amount"),
        ({"amount": 5.0}, "amount"),
        ({"amount": "five"}, "amount"),
        ({}, "amount"),
        ({"amount": "5", "note": "two\nlines"}, "note"),
        ({"amount": "5", "note": "x" * 401}, "note"),
        ({"amount": "5", "currency": "EUR"}, "currency"),
    ],
    ids=str,
)
async def test_bad_credit_changes_nothing(world: World, body: Any, param: str):
    error = await world.refused("operator", "POST", f"{ACME}/credit", body)
    assert (error["status"], error["param"]) == (400, param)


@pytest.mark.parametrize("key", ["", "x" * 101, "tab\there"])
async def test_a_bad_idempotency_key_changes_nothing(world: World, key: str):
    more = {"headers": {"Idempotency-Key": key}}
    error = await world.refused("operator", "POST", f"{ACME}/credit", {"amount": "1"}, **more)
    assert (error["status"], error["param"]) == (400, "Idempotency-Key")


async def test_credit_beyond_what_the_ledger_counts_changes_nothing(world: World):
    most = {"amount": "4611686018427.387903"}
    error = await world.refused("operator", "POST", f"{ACME}/credit", most)
    assert error["status"] == 400


async def test_a_lowered_credit_limit_leaves_what_is_in_use(world: World):
    apply(world, hold(world, "req_1", "12"))
    lowered = await world.ok("operator", "PUT", f"{ACME}/credit-limit", {"credit_limit": "0"})
    assert lowered == balance("-2.000000", "12.000000", "0.000000", "10.000000")
    raised = await world.ok("operator", "PUT", f"{ACME}/credit-limit", {"credit_limit": "7"})
    assert raised == balance("5.000000", "12.000000", "0.000000", "17.000000")
    error = await world.refused("operator", "PUT", f"{ACME}/credit-limit", {"credit_limit": "-1"})
    assert (error["status"], error["param"]) == (400, "credit_limit")


async def test_entries_say_what_each_change_did_page_by_page(world: World):
    apply(world, hold(world, "req_1", "4"), hold(world, "req_2", "1"))
    apply(world, post("req_1", 5))
    found = await world.ok("finance", "GET", f"{ACME}/entries")
    assert [(one["kind"], one["change"], one["held"], one["overrun"]) for one in found] == [
        ("open", "0.000000", "0.000000", "0.000000"),
        ("transfer", "10.000000", "0.000000", "0.000000"),
        ("place", "0.000000", "4.000000", "0.000000"),
        ("place", "0.000000", "1.000000", "0.000000"),
        ("post", "-4.000000", "0.000000", "1.000000"),
    ]
    assert found[0]["limit"] == "5.000000"
    page = await world.ok("finance", "GET", f"{ACME}/entries?after={found[1]['seq']}&limit=2")
    assert page == found[2:4]


@pytest.mark.parametrize("query", ["after=-1", f"after={2**63}", "after=x", "limit=0", "limit=1001", "limit=1.5"])
async def test_a_bad_page_is_refused(world: World, query: str):
    assert (await world.refused("finance", "GET", f"{ACME}/entries?{query}"))["status"] == 400


async def test_budgets_are_set_by_name_and_say_what_is_left(world: World):
    project = await world.ok("admin", "POST", f"{ACME}/projects", {"name": "web"})
    key = await world.ok("admin", "POST", f"{ACME}/keys", {})
    wanted = [("organization", None, world.acme.id), ("project", "WEB", project["id"]), ("key", key["id"], key["id"])]
    made = []
    for scope, given, scope_id in wanted:
        body = {"scope": scope, "scope_id": given, "cap": "10", "period": "month"}
        made.append(await world.ok("finance", "PUT", f"{ACME}/budgets", body))
        assert made[-1] == {
            "id": made[-1]["id"],
            "scope": scope,
            "scope_id": scope_id,
            "cap": "10.000000",
            "period": "month",
            "hard": True,
            "window": "2026-11",
            "spent": "0.000000",
            "held": "0.000000",
            "left": "10.000000",
            "created_at": "2026-11-21T09:00:00Z",
        }
    account = f"budget:{made[1]['id']}:2026-11"
    apply(world, hold(world, "req_1", "4", account), hold(world, "req_2", "3", account))
    apply(world, post("req_1", 1))
    spent = {**made[1], "spent": "1.000000", "held": "3.000000", "left": "6.000000"}
    assert await world.ok("finance", "GET", f"{ACME}/budgets") == [made[0], spent, made[2]]
    again = {"scope": "project", "scope_id": project["id"], "cap": "3", "period": "month", "hard": False}
    changed = await world.ok("finance", "PUT", f"{ACME}/budgets", again)
    assert changed == {**spent, "cap": "3.000000", "hard": False, "left": "-1.000000"}
    assert await world.ok("finance", "DELETE", f"{ACME}/budgets/{made[1]['id']}") == changed
    assert await world.ok("finance", "GET", f"{ACME}/budgets") == [made[0], made[2]]
    assert (await world.refused("finance", "DELETE", f"{ACME}/budgets/{made[1]['id']}"))["status"] == 404


@pytest.mark.parametrize(
    ("body", "param", "status"),
    [
        ({"scope": "project", "cap": "1", "period": "day"}, "scope_id", 400),
        ({"scope": "key", "cap": "1", "period": "day"}, "scope_id", 400),
        ({"scope": "organization", "scope_id": "rival", "cap": "1", "period": "day"}, "scope_id", 400),
        ({"scope": "project", "scope_id": "none", "cap": "1", "period": "day"}, "project", 404),
        ({"scope": "organization", "cap": "-1", "period": "day"}, "cap", 400),
        ({"scope": "organization", "cap": 1, "period": "day"}, "cap", 400),
        ({"scope": "organization", "cap": "1", "period": "week"}, "period", 400),
        ({"scope": "organization", "cap": "1", "period": "day", "hard": "yes"}, "hard", 400),
        ({"scope": "organization", "cap": "1"}, "period", 400),
    ],
    ids=str,
)
async def test_a_bad_budget_changes_nothing(world: World, body: Any, param: str, status: int):
    error = await world.refused("finance", "PUT", f"{ACME}/budgets", body)
    assert (error["status"], error["param"]) == (status, param)
