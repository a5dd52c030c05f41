"""The page of the control plane's routes: from its document, and who may call from asking it with every kind of key."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final, NamedTuple

import httpx

from surplus.gateway.endpoints import ENDPOINTS
from surplus.identity.model import Action, Role, allows
from tools.reference.markdown import code, document, first_paragraph, table
from tools.reference.server import Built

_INTRO = """
The whole document, with schemas and examples, is at `/api/docs` of every server and at `/api/openapi.json`. A key goes
into `Authorization: Bearer sk-…`. Bodies are JSON; unknown fields are refused. Money is a decimal string in dollars, an
instant is ISO 8601 in UTC. [Errors](errors.md) all have one shape.

**Who may call**: the operator reaches every organization, any other key its own alone; what a key does not reach
answers 404, as if it did not exist. `{org}` is a name or an id.
"""
_MODELS_INTRO = """
As OpenAI's, for keys of the roles {roles}: see the [developer's quick start](../developer/quick-start.md).
"""
_EXAMPLES: Final = {
    "{org}": "acme",
    "{member}": "nobody@example.com",
    "{budget}": "bud_0",
    "{deployment}": "dep_0",
    "{name}": "gw_0",
}
_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_JSON: Final = {"content-type": "application/json"}
_KEYS: Final = "/api/organizations/acme/keys"


class Route(NamedTuple):
    """One operation of the document; `tag` is the section that it is in."""

    method: str
    path: str
    tag: str
    summary: str
    description: str


async def page(server: Built) -> str:
    """docs/reference/api.md"""
    callers = await _callers(server)
    parts: list[str] = []
    found = [(route, await _who(server, callers, route)) for route in await every(server)]
    for tag, group in groupby(found, key=lambda pair: pair[0].tag):
        rows = [(_place(route), f"{route.summary}. {route.description}", who) for route, who in group]
        parts += [f"## {tag}", table(("route", "what it does", "who may call"), rows)]
    return document("The API", _INTRO, "## The model API", *_models(), *parts)


async def every(server: Built) -> list[Route]:
    """Every operation of the control plane's document, tag by tag."""
    document = (await server.here.get("/api/openapi.json")).raise_for_status().json()
    routes = [
        Route(method.upper(), path, operation["tags"][0], operation["summary"], _text(operation))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in _METHODS
    ]
    tags = list(dict.fromkeys(route.tag for route in routes))
    return sorted(routes, key=lambda route: tags.index(route.tag))


def _text(operation: Mapping[str, Any]) -> str:
    return first_paragraph(operation.get("description", ""))


def _place(route: Route) -> str:
    return code(f"{route.method} {route.path}")


def _models() -> tuple[str, str]:
    roles = " and ".join(role for role in Role if allows(role, Action.CALL_MODELS))
    rows = [
        (code(f"POST /v1{endpoint.path}"), "streamed or not" if endpoint.streams else "") for endpoint in _ENDPOINTS
    ]
    rows += [(code("GET /v1/models"), "every model"), (code("GET /v1/models/{model}"), "one model")]
    return _MODELS_INTRO.format(roles=roles), table(("route", ""), rows)


_ENDPOINTS = ENDPOINTS.values()


async def _callers(server: Built) -> Mapping[str, str]:
    """A customer `acme`, and a key of each role; the operator's is the server's own."""
    await _made(server, "/api/organizations", {"name": "acme"})
    keys = {role.value: await _made(server, _KEYS, {"role": role.value}) for role in Role if role is not Role.OPERATOR}
    return {**keys, Role.OPERATOR.value: server.operator_key}


async def _made(server: Built, path: str, body: Mapping[str, str]) -> str:
    answer = await server.here.post(path, json=body, headers=_bearer(server.operator_key))
    return answer.raise_for_status().json().get("key", "")


async def _who(server: Built, callers: Mapping[str, str], route: Route) -> str:
    if not await _refuses(server, server.elsewhere, route, None):
        return "anyone"
    able = [name for name, key in callers.items() if not await _refuses(server, server.elsewhere, route, key)]
    who = "any key" if len(able) == len(callers) else ", ".join(able)
    return who if await _refuses(server, server.here, route, None) else f"{who}; on the server's own machine anyone"


async def _refuses(server: Built, client: httpx.AsyncClient, route: Route, key: str | None) -> bool:
    """Whether a request is turned away for who sends it; that its body is empty is found out later, if at all."""
    examples = {**_EXAMPLES, "{key}": await _key_id(server)} if "{key}" in route.path else _EXAMPLES
    path = re.sub(r"\{\w+\}", lambda match: examples[match[0]], route.path)
    body = b"{}" if route.method in _WITH_BODY else None
    headers = _JSON if key is None else {**_JSON, **_bearer(key)}
    answer = await client.request(route.method, path, content=body, headers=headers)
    return answer.status_code in _REFUSED


async def _key_id(server: Built) -> str:
    """The id of a key that nothing has happened to yet: a route may end it."""
    answer = await server.here.post(_KEYS, json={}, headers=_bearer(server.operator_key))
    return answer.raise_for_status().json()["id"]


def _bearer(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}
