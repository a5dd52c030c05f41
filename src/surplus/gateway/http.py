"""The data plane's HTTP: `/v1/...`, straight on our server, because this is the path that every token takes."""

from typing import Any, Final

import msgspec

from surplus.gateway import surface
from surplus.gateway.client import Client
from surplus.gateway.endpoints import ENDPOINTS
from surplus.gateway.errors import ModelNotFound
from surplus.gateway.path import Path
from surplus.kit.errors import MethodNotAllowed, NotFound, SurplusError
from surplus.kit.http1_server import Exchange
from surplus.kit.ids import Ids
from surplus.serving.directory import Directory
from surplus.serving.model import ModelInfo

PREFIX: Final = "/v1"


class Gateway:
    """Answers every request of the data plane."""

    def __init__(self, path: Path, pool: Directory, ids: Ids) -> None:
        self._path = path
        self._pool = pool
        self._ids = ids

    async def __call__(self, exchange: Exchange) -> None:
        route, method = exchange.head.path.removeprefix(PREFIX), exchange.head.method
        client = Client(exchange)
        endpoint = ENDPOINTS.get(route)
        if endpoint is not None and method == "POST":
            await self._path.serve(client, endpoint)
            return
        headers = surface.request_headers(self._ids.new("req"))
        try:
            body = await self._read_only(client, method, route)
        except SurplusError as error:
            await self._path.refuse(client, error, headers)
            return
        client.start(200, [(b"content-type", b"application/json"), *headers])
        await client.send(body, more=False)

    async def _read_only(self, client: Client, method: str, route: str) -> bytes:
        known = route in ENDPOINTS or route == "/models" or route.startswith("/models/")
        if not known:
            message = f"there is no {PREFIX}{route} here; the API is described in the developer guide"
            raise NotFound(message)
        if method != "GET" or route in ENDPOINTS:
            allowed = "POST" if route in ENDPOINTS else "GET"
            message = f"{PREFIX}{route} takes {allowed}, not {method}"
            raise MethodNotAllowed(message)
        await self._path.access.model_caller(client)
        models = {info.id: info for info in self._pool.models()}
        if route == "/models":
            return msgspec.json.encode({"object": "list", "data": [_model(info) for info in models.values()]})
        wanted = route.removeprefix("/models/")
        if wanted not in models:
            message = f"the model {wanted!r} does not exist here; see GET /v1/models"
            raise ModelNotFound(message, param="model")
        return msgspec.json.encode(_model(models[wanted]))


def _model(info: ModelInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "object": "model",
        "created": int(info.created),
        "owned_by": "surplus",
        "context_window": info.context,
    }
