"""API keys over HTTP: making, using, rotating, ending."""

from typing import Any

import pytest

from tests.http.world import World

ACME = "/api/organizations/acme"


async def test_a_key_comes_with_its_limits_and_its_budget(world: World):
    project = await world.ok("admin", "POST", f"{ACME}/projects", {"name": "web"})
    member = await world.ok("admin", "POST", f"{ACME}/members", {"email": "ann@acme.test", "role": "developer"})
    body = {
        "project": "web",
        "member": "ann@acme.test",
        "name": "ci",
        "budget": "2.5",
        "budget_period": "day",
        "rpm": 60,
        "tpm": 1000,
        "concurrency": 2,
        "expires_at": "2026-12-01T00:00:00+01:00",
    }
    made = await world.ok("admin", "POST", f"{ACME}/keys", body)
    token = made.pop("key")
    assert token == f"sk-{made['public_id']}-{token.rpartition('-')[2]}"
    assert made == {
        "id": made["id"],
        "public_id": made["public_id"],
        "organization": world.acme.id,
        "project": project["id"],
        "member": member["id"],
        "role": "developer",
        "name": "ci",
        "rpm": 60,
        "tpm": 1000,
        "concurrency": 2,
        "created_at": "2026-11-21T09:00:00Z",
        "expires_at": "2026-11-30T23:00:00Z",
        "revoked_at": None,
    }
    assert made in await world.ok("finance", "GET", f"{ACME}/keys")
    budget = (await world.ok("finance", "GET", f"{ACME}/budgets"))[0]
    facts = [budget[name] for name in ("scope", "scope_id", "cap", "period", "hard")]
    assert facts == ["key", made["id"], "2.500000", "day", True]
    world.tokens["new"] = token
    await world.ok("new", "GET", f"{ACME}/usage")


async def test_a_plain_key_is_a_developers_without_limits(world: World):
    made = await world.ok("admin", "POST", f"{ACME}/keys", {})
    assert (made["role"], made["rpm"], made["tpm"], made["concurrency"]) == ("developer", None, None, None)
    assert (made["project"], made["member"], made["expires_at"], made["name"]) == (None, None, None, "")
    assert await world.ok("admin", "GET", f"{ACME}/budgets") == []


async def test_a_token_is_shown_once_and_stored_nowhere(world: World):
    made = await world.ok("admin", "POST", f"{ACME}/keys", {})
    secret = made["key"].rpartition("-")[2]
    assert secret not in (await world.call("admin", "GET", f"{ACME}/keys")).text
    assert secret not in str(world.rows())


@pytest.mark.parametrize(
    ("body", "param", "status"),
    [
        ({"budget": "-1"}, "budget", 400),
        ({"budget": 1.0}, "budget", 400),
        ({"budget": "1", "budget_period": "year"}, "budget_period", 400),
        ({"budget": "1", "project": "none"}, "project", 404),
        ({"budget": "1", "member": "none"}, "member", 404),
        ({"rpm": 0}, "rpm", 400),
        ({"tpm": 1.5}, "tpm", 400),
        ({"rpm": "60"}, "rpm", 400),
        ({"rpm": True}, "rpm", 400),
        ({"concurrency": 10**13}, "concurrency", 400),
        ({"expires_at": "2026-11-21T09:00:00Z"}, "expires_at", 400),
        ({"expires_at": "2026-12-01T00:00:00"}, "expires_at", 400),
        ({"expires_at": "tomorrow"}, "expires_at", 400),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at", 400),
        ({"expires_at": 1_900_000_000}, "expires_at", 400),
        ({"role": "root"}, "role", 400),
        ({"role": "operator"}, "role", 403),
        ({"name": "a\nb"}, "name", 400),
        ({"scopes": []}, "scopes", 400),
    ],
    ids=str,
)
async def test_a_bad_key_changes_nothing(world: World, body: Any, param: str, status: int):
    for who in ("admin", "operator"):
        error = await world.refused(who, "POST", f"{ACME}/keys", body)
        assert (error["status"], error["param"]) == (status, param)


async def test_rotation_ends_the_earlier_token_at_once_or_after_the_overlap(world: World):
    made = await world.ok("admin", "POST", f"{ACME}/keys", {"role": "finance"})
    world.tokens["first"] = made["key"]
    second = await world.ok("admin", "POST", f"/api/keys/{made['id']}/rotate", {"overlap_s": 60})
    assert second["id"] == made["id"]
    assert second["public_id"] != made["public_id"]
    world.tokens["second"] = second["key"]
    await world.ok("first", "GET", ACME)
    await world.ok("second", "GET", ACME)
    world.clock.advance(60)
    assert "rotated" in (await world.refused("first", "GET", ACME))["message"]
    third = await world.ok("admin", "POST", f"/api/keys/{made['id']}/rotate")
    world.tokens["third"] = third["key"]
    assert (await world.refused("second", "GET", ACME))["status"] == 401
    await world.ok("third", "GET", ACME)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"overlap_s": -1}, 400), ({"overlap_s": 3_000_000}, 400), ({"overlap_s": "60"}, 400), ({"overlap": 60}, 400)],
    ids=str,
)
async def test_a_bad_overlap_changes_nothing(world: World, body: Any, status: int):
    key = (await world.ok("admin", "GET", f"{ACME}/keys"))[0]
    assert (await world.refused("admin", "POST", f"/api/keys/{key['id']}/rotate", body))["status"] == status


async def test_an_overlap_that_is_no_number_changes_nothing(world: World):
    key = (await world.ok("admin", "GET", f"{ACME}/keys"))[0]
    for number in (b"NaN", b"Infinity", b"1e999"):
        more = {"content": b'{"overlap_s": %b}' % number, "headers": {"content-type": "application/json"}}
        error = await world.refused("admin", "POST", f"/api/keys/{key['id']}/rotate", **more)
        assert (error["status"], error["param"]) == (400, "overlap_s")


async def test_a_revoked_key_is_refused_by_the_next_request_and_stays_so(world: World):
    made = await world.ok("admin", "POST", f"{ACME}/keys", {"role": "admin"})
    world.tokens["made"] = made["key"]
    await world.ok("made", "GET", ACME)
    ended = await world.ok("made", "DELETE", f"/api/keys/{made['id']}")  # a key can end itself
    assert ended["revoked_at"] == "2026-11-21T09:00:00Z"
    assert (await world.refused("made", "GET", ACME))["status"] == 401
    world.clock.advance(1)
    assert await world.ok("admin", "DELETE", f"/api/keys/{made['id']}") == ended
    error = await world.refused("admin", "POST", f"/api/keys/{made['id']}/rotate")
    assert (error["status"], error["code"]) == (409, "key_ended")


async def test_an_expired_key_is_refused(world: World):
    made = await world.ok("admin", "POST", f"{ACME}/keys", {"expires_at": "2026-11-21T10:00:00Z"})
    world.tokens["made"] = made["key"]
    await world.ok("made", "GET", ACME)
    world.clock.advance(3600)
    assert "expired" in (await world.refused("made", "GET", ACME))["message"]


async def test_nobody_gets_hold_of_more_than_their_role(world: World):
    """An admin of the operator's own organization manages it, but cannot make itself an operator."""
    path = "/api/organizations/operator"
    operators = await world.ok("operator", "GET", f"{path}/keys")
    boss = await world.ok("operator", "POST", f"{path}/members", {"email": "boss@x.test", "role": "operator"})
    clerk = await world.ok("operator", "POST", f"{path}/members", {"email": "clerk@x.test", "role": "admin"})
    made = await world.ok("operator", "POST", f"{path}/keys", {"role": "admin"})
    world.tokens["clerk"] = made["key"]
    for method, tried, body in [
        ("POST", f"{path}/keys", {"role": "operator"}),
        ("POST", f"/api/keys/{operators[0]['id']}/rotate", {}),
        ("DELETE", f"/api/keys/{operators[0]['id']}", None),
        ("POST", f"{path}/members", {"email": "me@x.test", "role": "operator"}),
        ("PATCH", f"{path}/members/{clerk['id']}", {"role": "operator"}),
        ("PATCH", f"{path}/members/{boss['id']}", {"role": "developer"}),
        ("DELETE", f"{path}/members/{boss['id']}", None),
    ]:
        error = await world.refused("clerk", method, tried, body)
        assert (error["status"], error["code"]) == (403, "role_too_high"), tried
    await world.ok("clerk", "POST", f"{path}/keys", {"role": "admin"})
    await world.ok("operator", "PATCH", f"{path}/members/{clerk['id']}", {"role": "operator"})
