"""Who may do what, for every route of the control plane."""

from dataclasses import dataclass
from typing import Any

import pytest

from surplus.api import openapi
from surplus.gateway import processes
from surplus.gateway.model import Process
from surplus.kit.ids import CountedIds
from tests.http.world import NOW, World

CUSTOMERS = frozenset({"admin", "developer", "finance"})
ANYONE = CUSTOMERS | {"operator", "rival"}
ALL = CUSTOMERS | {"operator"}
MONEY = frozenset({"operator", "admin", "finance"})
ADMINS = frozenset({"operator", "admin"})
OPERATOR = frozenset({"operator"})

DEPLOYMENT = {"model": "tiny", "engine": "vllm", "url": "http://127.0.0.1:9/v1", "context": 100}
PRICE = {"model": "tiny", "input": "1", "output": "2"}


@dataclass(frozen=True)
class Route:
    """A route as it is documented, one good request to it, and who may make it."""

    method: str
    path: str
    allowed: frozenset[str]
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ORG = "/api/organizations/{org}"
ROUTES = [
    Route("POST", "/api/organizations", OPERATOR, {"name": "new"}),
    Route("GET", "/api/organizations", ANYONE),
    Route("GET", ORG, ALL),
    Route("POST", f"{ORG}/projects", ADMINS, {"name": "app"}),
    Route("GET", f"{ORG}/projects", ALL),
    Route("POST", f"{ORG}/members", ADMINS, {"email": "bob@acme.test"}),
    Route("GET", f"{ORG}/members", ADMINS),
    Route("PATCH", f"{ORG}/members/{{member}}", ADMINS, {"role": "finance"}),
    Route("DELETE", f"{ORG}/members/{{member}}", ADMINS),
    Route("POST", f"{ORG}/credit", OPERATOR, {"amount": "1"}),
    Route("PUT", f"{ORG}/credit-limit", OPERATOR, {"credit_limit": "1"}),
    Route("GET", f"{ORG}/balance", MONEY),
    Route("GET", f"{ORG}/entries", MONEY),
    Route("PUT", f"{ORG}/budgets", MONEY, {"scope": "organization", "cap": "9", "period": "day"}),
    Route("GET", f"{ORG}/budgets", MONEY),
    Route("DELETE", f"{ORG}/budgets/{{budget}}", MONEY),
    Route("POST", f"{ORG}/keys", ADMINS, {}),
    Route("GET", f"{ORG}/keys", ALL),
    Route("POST", "/api/keys/{key}/rotate", ADMINS),
    Route("DELETE", "/api/keys/{key}", ADMINS),
    Route("GET", f"{ORG}/usage", ALL),
    Route("GET", f"{ORG}/records", ALL),
    Route("GET", f"{ORG}/invoice", MONEY),
    Route("POST", "/api/prices", OPERATOR, PRICE),
    Route("GET", "/api/prices", ANYONE),
    Route("GET", "/api/models", ANYONE),
    Route("POST", "/api/deployments", OPERATOR, DEPLOYMENT),
    Route("GET", "/api/deployments", OPERATOR),
    Route("POST", "/api/deployments/{deployment}/drain", OPERATOR),
    Route("DELETE", "/api/deployments/{deployment}", OPERATOR),
    Route("GET", "/api/replicas", OPERATOR),
    Route("GET", "/api/gateways", OPERATOR),
    Route("POST", "/api/gateways/{name}/forget", OPERATOR),
    Route("GET", "/api/ledger/verify", OPERATOR),
    Route("GET", "/api/ledger/head", OPERATOR),
    Route("GET", "/api/status", OPERATOR),
]
OPEN = {"/healthz", "/readyz", "/metrics"}


async def filled(world: World) -> dict[str, str]:
    """Put one of everything into acme; returns the ids for paths."""
    member = await world.ok("operator", "POST", "/api/organizations/acme/members", {"email": "ann@acme.test"})
    key = await world.ok("operator", "POST", "/api/organizations/acme/keys", {"name": "victim", "budget": "1"})
    budgets = await world.ok("operator", "GET", "/api/organizations/acme/budgets")
    deployment = await world.ok("operator", "POST", "/api/deployments", {**DEPLOYMENT, "id": "old"})
    lost = Process("gw_0", "host", 1, "gateway", "1", NOW - 100, NOW - 100)
    await world.database.write(processes.beat, lost)
    made = {"member": member["id"], "key": key["id"], "budget": budgets[0]["id"], "deployment": deployment["id"]}
    return {**made, "name": lost.name}


def test_every_documented_route_is_in_the_table(world: World):
    documented = {
        f"{method.upper()} {path}"
        for path, operations in openapi.document(world.app)["paths"].items()
        for method in operations
        if path not in OPEN
    }
    assert {str(route) for route in ROUTES} == documented


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_roles(world: World, route: Route):
    ids = await filled(world)
    path = route.path.format(org="acme", **ids)
    for who in sorted(ANYONE - route.allowed):
        error = await world.refused(who, route.method, path, route.body)
        foreign = who == "rival" and route.path.startswith((ORG, "/api/keys"))
        assert (error["status"], who) == (404 if foreign else 403, who)
        assert error["code"] == ("role_not_allowed" if not foreign else error["code"])
    for who in sorted(route.allowed):
        # What one of them has made or ended cannot be made or ended again by the next, who is allowed to try.
        answer = await world.call(who, route.method, path, route.body)
        assert answer.status_code not in (401, 403), answer.text
        if who == min(route.allowed):
            assert answer.status_code == (201 if _creates(route) else 200), answer.text


def _creates(route: Route) -> bool:
    last = route.path.rpartition("/")[2]
    return route.method == "POST" and last in {
        "organizations",
        "projects",
        "members",
        "keys",
        "prices",
        "deployments",
    }


async def test_without_a_good_key_every_route_is_closed(world: World):
    good = world.tokens["admin"]
    world.tokens |= {"nonsense": "sk-nonsense", "empty": "", "wrong": good[:-1] + ("0" if good[-1] != "0" else "1")}
    world.tokens["unknown"] = f"sk-{'0' * 16}-{CountedIds().secret()}"
    for route in ROUTES:
        path = route.path.format(org="acme", member="m", key="k", budget="b", deployment="d", name="gw_0")
        for who in (None, "nonsense", "wrong", "empty", "unknown"):
            error = await world.refused(who, route.method, path, route.body)
            assert (error["status"], error["code"]) == (401, "invalid_api_key"), route


async def test_a_foreign_organization_answers_as_one_that_does_not_exist(world: World):
    ids = await filled(world)
    for route in (route for route in ROUTES if route.path.startswith(ORG)):
        errors = []
        for name in ("acme", world.acme.id, "nobody"):
            error = await world.refused("rival", route.method, route.path.format(org=name, **ids), route.body)
            assert (error["status"], error["param"]) == (404, "org"), route
            errors.append({**error, "message": error["message"].replace(name, "X")})
        assert errors[0] == errors[1] == errors[2]


async def test_a_foreign_key_answers_as_one_that_does_not_exist(world: World):
    ids = await filled(world)
    errors = []
    for name in (ids["key"], "key_999"):
        error = await world.refused("rival", "DELETE", f"/api/keys/{name}")
        errors.append({**error, "message": error["message"].replace(name, "X")})
    assert errors[0] == errors[1]
    assert errors[0]["status"] == 404


async def test_what_belongs_to_another_organization_is_not_found_inside_ones_own(world: World):
    ids = await filled(world)
    own = "/api/organizations/rival"
    project = await world.ok("admin", "POST", "/api/organizations/acme/projects", {"name": "secret"})
    for method, path, body in [
        ("DELETE", f"{own}/budgets/{ids['budget']}", None),
        ("DELETE", f"{own}/members/{ids['member']}", None),
        ("PATCH", f"{own}/members/ann@acme.test", {"role": "admin"}),
        ("PUT", f"{own}/budgets", {"scope": "key", "scope_id": ids["key"], "cap": "0", "period": "day"}),
        ("PUT", f"{own}/budgets", {"scope": "project", "scope_id": project["id"], "cap": "0", "period": "day"}),
        ("POST", f"{own}/keys", {"project": project["id"]}),
        ("POST", f"{own}/keys", {"member": "ann@acme.test"}),
        ("GET", f"{own}/usage?key={ids['key']}", None),
        ("GET", f"{own}/usage?project=secret", None),
    ]:
        assert (await world.refused("rival", method, path, body))["status"] == 404


async def test_lists_show_ones_own_organization_alone(world: World):
    assert [one["name"] for one in await world.ok("rival", "GET", "/api/organizations")] == ["rival"]
    assert [one["name"] for one in await world.ok("operator", "GET", "/api/organizations")] == [
        "acme",
        "operator",
        "rival",
    ]


async def test_the_scheme_has_to_be_bearer(world: World):
    answer = await world.clients[0].get("/api/models", headers={"authorization": f"Basic {world.tokens['admin']}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["error"]["message"]
