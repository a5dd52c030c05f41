"""Health and metrics, which every server answers whatever its role."""

import ipaddress
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from surplus.api.callers import Credentials, token_of
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.app import callers
from surplus.identity.model import Action
from surplus.kit.errors import NotFound
from surplus.wire.status import Health, Readiness

router = APIRouter(tags=["Server"])


@router.get("/healthz", summary="Is the process alive")
async def healthz() -> Health:
    """Answers as long as the process runs."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Should the server get requests",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "It should not; `why` says what it waits for."}},
)
async def readyz(deps: Deps) -> Response:
    """For load balancers: 200 if it should, 503 if not."""
    why = tuple(deps.not_ready())
    return JSONResponse(Readiness(ready=not why, why=why).model_dump(), 503 if why else 200)


async def _may_scrape(request: Request, deps: Deps, credentials: Credentials) -> None:
    """From this machine anyone may; from elsewhere only the operator: metrics tell what is sold, and for how much.

    What a proxy passes on comes from elsewhere, wherever the proxy is.
    """
    passed_on = any(name in request.headers for name in _PROXY_HEADERS)
    if credentials is None and not passed_on and _is_loopback(request):
        return
    await deps.read(callers.authenticate, token_of(credentials), Action.OPERATE, now=deps.clock.now())


_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def _is_loopback(request: Request) -> bool:
    if request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:  # whatever a proxy in front of us says is no address of this machine
        return False


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={**declared(404), 200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}},
)
async def metrics(deps: Deps, _allowed: Annotated[None, Depends(_may_scrape)]) -> Response:
    """The metrics of this process: without a key from its own machine, with the operator's key from elsewhere."""
    if deps.registry is None:
        raise NotFound("metrics are switched off; set metrics.enabled to have them")
    return Response(generate_latest(deps.registry), media_type=CONTENT_TYPE_LATEST)
