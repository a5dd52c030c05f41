"""The control plane's application: routes, errors and pages put together."""

import functools

from fastapi import FastAPI
from starlette.responses import JSONResponse

from surplus.api import errors, openapi, pages
from surplus.api.deps import ApiDeps
from surplus.api.middleware import Edge
from surplus.api.routes import catalog, gateways, health, keys, money, organizations, server, usage

__all__ = ["ApiDeps", "create_api"]


def create_api(deps: ApiDeps) -> FastAPI:
    """The ASGI application of everything but `/v1`. It answers no CORS requests and sets no cookies."""
    app = FastAPI(
        title=openapi.TITLE,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.deps = deps
    app.state.started_at = deps.clock.now()
    app.add_middleware(Edge, ids=deps.ids)
    errors.install(app)
    app.include_router(health.router)
    if deps.role == "gateway":
        return app
    for module in (organizations, keys, money, usage, catalog, gateways, server, pages):
        app.include_router(module.router)
    app.mount("/api/docs/assets", pages.assets)
    document = functools.cache(
        lambda: JSONResponse(openapi.document(app))
    )  # made when first asked for: it takes a while

    @app.get("/api/openapi.json", include_in_schema=False)
    async def openapi_json() -> JSONResponse:
        """The document of the API, the same for everyone."""
        return document()

    return app
