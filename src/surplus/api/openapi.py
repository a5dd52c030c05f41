"""The OpenAPI document, in version 3.0: the newest that the installed Swagger UI shows.

Schemas come out of pydantic in the dialect of 3.1, and are put into that of 3.0 here.
"""

from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

VERSION: Final = "3.0.3"
API_VERSION: Final = "1"
"""Of what the document describes. Which version runs is told to the operator alone, by `/api/status`."""
TITLE: Final = "Surplus control plane"
DESCRIPTION: Final = """Organizations, keys, money, usage, models and deployments of one Surplus server.

Send a key as `Authorization: Bearer sk-…`. The operator reaches every organization; any other key reaches its own, and
what it does not reach is `404`. Money is a decimal string in US dollars, an instant is ISO 8601. Every error has the
shape of `ErrorAnswer`; its id is in the header `x-request-id`. Models are called at `/v1`, as OpenAI's SDKs do it.
"""

_NULL: Final = {"type": "null"}


def operation_id(route: APIRoute) -> str:
    """The name of the route's function, which clients are generated from."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The document of every route of `app`."""
    found = get_openapi(
        title=TITLE, version=API_VERSION, openapi_version=VERSION, description=DESCRIPTION, routes=app.routes
    )
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # the framework's own; here it is a 400
    for unused in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(unused, None)
    return _older(found)


def _older(node: Any) -> Any:
    """The same in the dialect of 3.0: `nullable` for a null among alternatives, `enum` for `const`, one example."""
    if isinstance(node, list):
        return [_older(part) for part in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    new: dict[str, Any] = {name: _older(part) for name, part in cast("dict[str, Any]", node).items()}
    if _NULL in new.get("anyOf", ()):
        rest = [part for part in new.pop("anyOf") if part != _NULL]
        new = {**({"allOf": rest} if "$ref" in rest[0] else rest[0]), **new, "nullable": True}
    if isinstance(new.get("const"), str):
        new["enum"] = [new.pop("const")]
    if isinstance(new.get("examples"), list):
        new["example"] = new.pop("examples")[0]
    return new
