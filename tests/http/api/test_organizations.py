"""Organizations, their projects and members."""

from typing import Any

import pytest

from tests.http.world import World

ACME = "/api/organizations/acme"


async def test_a_customer_comes_with_its_credit(world: World):
    body = {"name": "Initech", "credit": "12.5", "credit_limit": "2.000001"}
    made = await world.ok("operator", "POST", "/api/organizations", body)
    assert made == {"id": made["id"], "name": "Initech", "created_at": "2026-11-21T09:00:00Z"}
    for name in ("Initech", "initech", made["id"]):
        assert await world.ok("operator", "GET", f"/api/organizations/{name}") == made
    assert await world.ok("operator", "GET", f"/api/organizations/{made['id']}/balance") == {
        "available": "14.500001",
        "held": "0.000000",
        "settled": "0.000000",
        "credit": "14.500001",
    }


async def test_credit_is_optional(world: World):
    made = await world.ok("operator", "POST", "/api/organizations", {"name": "Initech"})
    balance = await world.ok("operator", "GET", f"/api/organizations/{made['id']}/balance")
    assert set(balance.values()) == {"0.000000"}


async def test_an_operator_sees_its_own_organization_too(world: World):
    found = await world.ok("operator", "GET", "/api/organizations/operator")
    assert found["name"] == "operator"
    balance = await world.ok("operator", "GET", "/api/organizations/operator/balance")
    assert set(balance.values()) == {"0.000000"}
    assert await world.ok("operator", "GET", "/api/organizations/operator/entries") == []


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "name", "required"),
        ({"name": "x", "credits": "1"}, "credits", "no such field"),
        ({"name": "x", "credit": 1.5}, "credit", "valid string"),
        ({"name": "x", "credit": 1}, "credit", "valid string"),
        ({"name": "x", "credit": None}, "credit", "valid string"),
        ({"name": "x", "credit": "1e3"}, "credit", "decimal number"),
        ({"name": "x", "credit": "1,5"}, "credit", "decimal number"),
        ({"name": "x", "credit": "0.0000001"}, "credit", "more than 6 decimals"),
        ({"name": "x", "credit": "-1"}, "credit", "0 or more"),
        ({"name": "x", "credit": "9" * 15}, "credit", "too large"),
        ({"name": "x", "credit": "9" * 50}, "credit", "at most 40"),
        ({"name": "x", "credit_limit": "-0.000001"}, "credit_limit", "0 or more"),
        ({"name": ""}, "name", "not a name"),
        ({"name": " x"}, "name", "not a name"),
        ({"name": "x" * 81}, "name", "not a name"),
        ({"name": "x" * 301}, "name", "at most 300"),
        ({"name": "x\u0000"}, "name", "not a name"),
        ({"name": ["x"]}, "name", "valid string"),
        ([{"name": "x"}], None, "not a JSON object"),
        ("x", None, "not a JSON object"),
    ],
    ids=str,
)
async def test_a_bad_request_changes_nothing(world: World, body: Any, param: str | None, words: str):
    error = await world.refused("operator", "POST", "/api/organizations", body)
    assert (error["status"], error["param"]) == (400, param)
    assert words in error["message"]


async def test_names_are_unique_whatever_their_case(world: World):
    for name in ("acme", "ACME", "Operator"):
        error = await world.refused("operator", "POST", "/api/organizations", {"name": name, "credit": "1"})
        assert (error["status"], error["code"], error["param"]) == (409, "name_taken", "name")


async def test_projects(world: World):
    web = await world.ok("admin", "POST", f"{ACME}/projects", {"name": "web"})
    assert web == {
        "id": web["id"],
        "organization": world.acme.id,
        "name": "web",
        "created_at": "2026-11-21T09:00:00Z",
    }
    app = await world.ok("operator", "POST", f"{ACME}/projects", {"name": "app"})
    assert await world.ok("developer", "GET", f"{ACME}/projects") == [app, web]
    assert (await world.refused("admin", "POST", f"{ACME}/projects", {"name": "WEB"}))["status"] == 409
    assert (await world.refused("admin", "POST", f"{ACME}/projects", {"name": "/"}))["status"] == 400
    await world.ok("rival", "POST", "/api/organizations/rival/projects", {"name": "web"})


async def test_members_are_named_by_email_or_id(world: World):
    ann = await world.ok("admin", "POST", f"{ACME}/members", {"email": "ann@acme.test", "role": "admin"})
    odd = await world.ok("admin", "POST", f"{ACME}/members", {"email": "o/d?d@acme.test"})
    assert odd["role"] == "developer"
    assert await world.ok("admin", "GET", f"{ACME}/members") == [ann, odd]
    changed = await world.ok("admin", "PATCH", f"{ACME}/members/o%2Fd%3Fd@acme.test", {"role": "finance"})
    assert changed == {**odd, "role": "finance"}
    assert await world.ok("admin", "DELETE", f"{ACME}/members/{odd['id']}") == changed
    assert await world.ok("admin", "DELETE", f"{ACME}/members/ANN@acme.test") == ann
    assert await world.ok("admin", "GET", f"{ACME}/members") == []
    assert (await world.refused("admin", "DELETE", f"{ACME}/members/{ann['id']}"))["status"] == 404


async def test_a_member_who_gets_a_lower_role_loses_the_keys_that_exceed_it(world: World):
    await world.ok("admin", "POST", f"{ACME}/members", {"email": "ann@acme.test", "role": "admin"})
    for role in ("admin", "finance"):
        body = {"member": "ann@acme.test", "role": role}
        world.tokens[f"ann-{role}"] = (await world.ok("admin", "POST", f"{ACME}/keys", body))["key"]
    await world.ok("ann-admin", "PATCH", f"{ACME}/members/ann@acme.test", {"role": "finance"})
    assert (await world.refused("ann-admin", "GET", ACME))["status"] == 401
    await world.ok("ann-finance", "GET", ACME)
    await world.ok("admin", "DELETE", f"{ACME}/members/ann@acme.test")
    assert (await world.refused("ann-finance", "GET", ACME))["status"] == 401


@pytest.mark.parametrize(
    ("body", "param", "status"),
    [
        ({"email": "nobody"}, "email", 400),
        ({"email": "ann@acme.test"}, "email", 409),
        ({"email": "bob@acme.test", "role": "owner"}, "role", 400),
        ({"email": "bob@acme.test", "role": "operator"}, "role", 403),
    ],
    ids=str,
)
async def test_a_bad_member_changes_nothing(world: World, body: Any, param: str, status: int):
    await world.ok("admin", "POST", f"{ACME}/members", {"email": "ann@acme.test"})
    for who in ("admin", "operator"):
        error = await world.refused(who, "POST", f"{ACME}/members", body)
        assert (error["status"], error["param"]) == (status, param)
