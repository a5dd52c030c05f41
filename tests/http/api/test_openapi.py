"""The OpenAPI document: complete, and in the dialect that it says it is in."""

import re
from typing import Any

import pytest

from surplus.wire.errors import ErrorAnswer
from tests.http.world import World

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def document(world: World) -> dict[str, Any]:
    return (await world.call(None, "GET", "/api/openapi.json")).json()


def nodes(node: Any) -> list[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(node, list):
        return [found for part in node for found in nodes(part)]
    if not isinstance(node, dict):
        return []
    return [node, *(found for part in node.values() for found in nodes(part))]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, name, one) for path, each in document["paths"].items() for name, one in each.items()]


def test_it_says_who_it_is(document: dict[str, Any]):
    assert document["openapi"] == "3.0.3"
    assert document["info"]["version"] == "1"
    assert document["info"]["title"]
    assert document["info"]["description"]


def test_every_operation_is_described_and_named_once(document: dict[str, Any]):
    found = operations(document)
    assert len(found) > 30
    for path, method, operation in found:
        assert method in METHODS
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["tags"], path
    names = [operation["operationId"] for _, _, operation in found]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z_]+", name) for name in names)


def test_every_operation_declares_its_errors_in_our_shape(document: dict[str, Any]):
    shape = {"$ref": "#/components/schemas/ErrorAnswer"}
    for path, _, operation in operations(document):
        answers = operation["responses"]
        assert "422" not in answers
        if path in ("/healthz", "/readyz"):
            continue
        assert {"400", "401", "403", "503"} <= set(answers), path
        assert ("404" in answers) or "{" not in path, path
        for status, answer in answers.items():
            if int(status) >= 400:
                assert answer["content"]["application/json"]["schema"] == shape, path
    assert document["components"]["schemas"]["ErrorBody"]["required"] == ["message", "code", "param", "detail"]
    assert ErrorAnswer.__doc__ in (document["components"]["schemas"]["ErrorAnswer"]["description"],)


def test_every_operation_of_the_api_needs_a_key(document: dict[str, Any]):
    (name,) = document["components"]["securitySchemes"]
    scheme = document["components"]["securitySchemes"][name]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, _, operation in operations(document):
        needs = operation.get("security", [])
        assert needs == ([{name: []}] if path.startswith("/api/") or path == "/metrics" else [])


def test_every_path_parameter_is_described_and_every_reference_leads_somewhere(document: dict[str, Any]):
    for path, _, operation in operations(document):
        in_path = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
    for node in nodes(document):
        if isinstance(node.get("$ref"), str):
            assert node["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_schemas_use_nothing_that_is_newer_than_3_0(document: dict[str, Any]):
    for node in nodes(document["components"]["schemas"]):
        assert node.get("type") != "null"
        assert "const" not in node or isinstance(node["const"], dict)
        assert not isinstance(node.get("examples"), list)
        assert not isinstance(node.get("type"), list)
        assert "$ref" not in node or set(node) == {"$ref"}


def test_bodies_forbid_what_they_do_not_know_and_money_is_text(document: dict[str, Any]):
    schemas = document["components"]["schemas"]
    requests = {name: schema for name, schema in schemas.items() if name.endswith("Request")}
    assert len(requests) == 11
    assert all(schema["additionalProperties"] is False for schema in requests.values())
    money = {"credit", "amount", "available", "held", "settled", "cap", "spent", "left", "budget", "charged", "total"}
    for name, schema in schemas.items():
        for field, kind in schema.get("properties", {}).items():
            if field in money:
                assert kind["type"] == "string", (name, field)
    assert schemas["KeyRequest"]["properties"]["budget"]["nullable"] is True
    assert schemas["KeyRequest"]["properties"]["budget"]["description"] == "A hard budget of the key alone."
