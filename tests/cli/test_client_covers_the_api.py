"""The client has a method for every route of the control plane, and for no other."""

import inspect
import re
from typing import Any

import httpx
import pytest

from surplus.client import ApiError, Client
from tests.cli.served import Served
from tests.unit.client.answering import ERROR, answering

NOT_METHODS = {"close"}
VALUES: dict[str, Any] = {"context": 1, "engine": "vllm", "scope": "key", "period": "day", "role": "admin"}


def _calls() -> dict[str, tuple[str, str]]:
    """The method and path that each method of the client sends."""
    found: dict[str, tuple[str, str]] = {}
    with answering() as server, Client(server.url, "sk-a-b") as client:
        server.answer(ERROR, 418)
        for name, method in inspect.getmembers(client, inspect.ismethod):
            if name.startswith("_") or name in NOT_METHODS:
                continue
            wanted = [each.name for each in inspect.signature(method).parameters.values() if each.default is each.empty]
            with pytest.raises(ApiError):
                method(**{parameter: VALUES.get(parameter, "x") for parameter in wanted})
            found[name] = (server.sent[-1].method, server.sent[-1].path)
    return found


def test_every_route_has_one_method(served: Served) -> None:
    document = httpx.get(f"{served.url}/api/openapi.json").json()
    routes = {
        (method.upper(), re.sub(r"\{[^}]+\}", "x", path))
        for path, item in document["paths"].items()
        for method in item
        if path.startswith("/api/")
    }
    calls = _calls()
    assert set(calls.values()) == routes
    assert len(calls) == len(routes)
