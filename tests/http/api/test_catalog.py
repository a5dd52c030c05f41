"""Prices, models, deployments and replicas over HTTP."""

from typing import Any

import pytest

from tests.http.world import World

PRICE = {"model": "tiny", "input": "0.15", "output": "0.6"}
DEPLOYMENT = {"model": "tiny", "engine": "vllm", "url": "http://127.0.0.1:9/v1", "context": 100}


async def test_a_price_holds_from_now_or_later_for_good(world: World):
    made = await world.ok("operator", "POST", "/api/prices", PRICE)
    assert made == {
        "model": "tiny",
        "version": made["version"],
        "effective_from": "2026-11-21T09:00:00Z",
        "currency": "USD",
        "input": "0.15",
        "output": "0.60",
        "cache_read": "0.15",
        "cache_write": "0.15",
    }
    later = {**PRICE, "cache_read": "0.000000000001", "cache_write": "0", "effective_from": "2026-12-01T00:00:00Z"}
    coming = await world.ok("operator", "POST", "/api/prices", later)
    assert (coming["cache_read"], coming["cache_write"]) == ("0.000000000001", "0.00")
    assert await world.ok("developer", "GET", "/api/prices") == [made, coming]
    error = await world.refused("operator", "POST", "/api/prices", {**later, "input": "9"})
    assert (error["status"], error["code"]) == (409, "price_exists")
    world.clock.advance(30 * 86_400)
    assert await world.ok("developer", "GET", "/api/prices") == [coming]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": 0.15}, "input"),
        ({"input": "-1"}, "input"),
        ({"output": "free"}, "output"),
        ({"cache_read": "1e-6"}, "cache_read"),
        ({"cache_write": "0.0000000000001"}, "cache_write"),
        ({"model": ""}, "model"),
        ({"model": "tiny "}, "model"),
        ({"input": "10001"}, "input"),
        ({"effective_from": "2026-11-21T08:59:59Z"}, "effective_from"),
        ({"effective_from": "2026-11-21"}, "effective_from"),
        ({"currency": "EUR"}, "currency"),
        ({"force": 1}, "force"),
    ],
    ids=str,
)
async def test_a_bad_price_changes_nothing(world: World, change: Any, param: str):
    error = await world.refused("operator", "POST", "/api/prices", {**PRICE, **change})
    assert (error["status"], error["param"]) == (400, param)


async def test_an_implausible_price_can_be_forced(world: World):
    made = await world.ok("operator", "POST", "/api/prices", {**PRICE, "input": "10001", "force": True})
    assert made["input"] == "10001.00"


async def test_a_deployment_is_served_at_once(world: World):
    assert await world.ok("developer", "GET", "/api/models") == []
    made = await world.ok("operator", "POST", "/api/deployments", {**DEPLOYMENT, "id": "lab/tiny:v1", "priority": 3})
    assert made == {
        **DEPLOYMENT,
        "id": "lab/tiny:v1",
        "path": None,
        "key_env": None,
        "key_file": None,
        "upstream_model": "tiny",
        "max_output": 50,
        "template_tokens": 64,
        "slots": 4,
        "replicas": 1,
        "priority": 3,
        "embeddings": False,
        "sku": "tiny",
        "draining": False,
        "created_at": "2026-11-21T09:00:00Z",
    }
    assert await world.ok("operator", "GET", "/api/deployments") == [made]
    model = {"id": "tiny", "ready": False, "context": 100, "embeddings": False, "deployments": 1, "price": None}
    assert await world.ok("developer", "GET", "/api/models") == [model]
    price = await world.ok("operator", "POST", "/api/prices", PRICE)
    assert await world.ok("developer", "GET", "/api/models") == [{**model, "price": price}]
    assert await world.ok("operator", "GET", "/api/replicas") == [
        {
            "id": "replica_1",
            "deployment": "lab/tiny:v1",
            "model": "tiny",
            "state": "starting",
            "in_flight": 0,
            "breaker": "closed",
            "restarts": 0,
            "error": None,
        }
    ]


async def test_a_model_has_the_price_of_the_deployment_that_is_preferred(world: World):
    await world.ok("operator", "POST", "/api/deployments", {**DEPLOYMENT, "sku": "dear", "priority": 1})
    await world.ok("operator", "POST", "/api/deployments", {**DEPLOYMENT, "sku": "cheap", "context": 50})
    for sku, dollars in (("dear", "9"), ("cheap", "1")):
        await world.ok("operator", "POST", "/api/prices", {"model": sku, "input": dollars, "output": dollars})
    (model,) = await world.ok("developer", "GET", "/api/models")
    assert (model["deployments"], model["context"], model["price"]["model"]) == (2, 50, "cheap")


async def test_drain_and_delete(world: World):
    for name in ("lab/tiny", "other"):
        await world.ok("operator", "POST", "/api/deployments", {**DEPLOYMENT, "id": name})
    drained = await world.ok("operator", "POST", "/api/deployments/lab/tiny/drain")
    assert drained["draining"] is True
    assert [one.id for one in world.pool.deployments("tiny")] == ["other"]
    assert await world.ok("operator", "POST", "/api/deployments/lab%2Ftiny/drain") == drained
    assert await world.ok("operator", "DELETE", "/api/deployments/lab/tiny") == drained
    gone = await world.ok("operator", "DELETE", "/api/deployments/other")
    assert gone["id"] == "other"
    assert await world.ok("operator", "GET", "/api/deployments") == []
    assert await world.ok("developer", "GET", "/api/models") == []
    for method, path in (("DELETE", "other"), ("POST", "other/drain")):
        assert (await world.refused("operator", method, f"/api/deployments/{path}"))["status"] == 404


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"engine": "tgi"}, "engine", 400),
        ({"context": "100"}, "context", 400),
        ({"context": 0}, "context", 400),
        ({"context": 2**70}, "context", 400),
        ({"max_output": 101}, "max_output", 400),
        ({"url": None}, "url", 400),
        ({"url": "http://user:secret@127.0.0.1/v1"}, "url", 400),
        ({"path": "/models/tiny.gguf"}, "path", 400),
        ({"replicas": 2}, "replicas", 400),
        ({"key": "sk-secret"}, "key", 400),
        ({"model": "a b"}, "model", 400),
        ({"id": "taken"}, None, 409),
    ],
    ids=str,
)
async def test_a_bad_deployment_changes_nothing(world: World, change: Any, param: str | None, status: int):
    await world.ok("operator", "POST", "/api/deployments", {**DEPLOYMENT, "id": "taken"})
    error = await world.refused("operator", "POST", "/api/deployments", {**DEPLOYMENT, **change})
    assert (error["status"], error["param"]) == (status, param)
    assert "secret" not in str(error)
