"""The server itself: its ledger, its status, health and metrics."""

import ipaddress
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from surplus.api import outputs
from surplus.api.callers import Credentials, Operator, token_of
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.app import callers
from surplus.gateway.standing import Standing, remedy
from surplus.identity.model import Action
from surplus.kit.clock import iso
from surplus.kit.errors import NotFound
from surplus.ledger import service as ledger
from surplus.wire.ledger import Head, LedgerStanding, Verification
from surplus.wire.status import Health, Readiness, Status

router = APIRouter(tags=["Server"])


@router.get("/api/ledger/verify", summary="Verify the ledger", responses=declared())
async def verify_ledger(_operator: Operator, deps: Deps) -> Verification:
    """Check the whole log, its hash chain, every balance and the usage records; for the operator.

    This reads everything. If anything is wrong, nothing is sold from then on.
    """
    found = await deps.verify()
    return Verification(
        ok=found.ok,
        entries=found.entries,
        batches=found.batches,
        head_seq=found.head_seq,
        head_hash=found.head_hash,
        problems=found.problems,
        remedy=remedy(found),
    )


@router.get("/api/ledger/head", summary="Get the head of the ledger", responses=declared())
async def get_ledger_head(_operator: Operator, deps: Deps) -> Head:
    """The last entry that is in the chain of hashes, and the hash there: what to keep elsewhere. For the operator."""
    found = await deps.read(ledger.head)
    return Head(seq=found.last_seq, hash=found.hash)


@router.get("/api/status", summary="Get the status", responses=declared())
async def get_status(_operator: Operator, deps: Deps, request: Request) -> Status:
    """How the server is. For the operator."""
    why = tuple(deps.not_ready())
    return Status(
        version=deps.version,
        started_at=iso(request.app.state.started_at),
        in_flight=deps.in_flight(),
        journal_lag_bytes=deps.journal_lag_bytes(),
        ready=not why,
        why=why,
        workers=tuple(outputs.worker(one) for one in deps.workers()),
        ledger=_standing(deps.standing()),
    )


def _standing(found: Standing) -> LedgerStanding:
    return LedgerStanding(
        state=found.state.value,
        seq=found.seq,
        hash=found.hash,
        checked_at=None if found.checked_at is None else iso(found.checked_at),
        problems=tuple(found.problems),
        remedy=found.remedy,
    )


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
