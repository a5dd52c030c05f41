"""Gateways: which are at work, and giving up one that is lost."""

from typing import Annotated

from fastapi import APIRouter, Path

from surplus.api import outputs
from surplus.api.callers import Operator
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.gateway import processes
from surplus.kit.money import format_dollars
from surplus.wire.gateways import ForgottenGateway, Gateway

router = APIRouter(prefix="/api/gateways", tags=["Server"])

Name = Annotated[str, Path(description="The gateway's name.")]


@router.get("", summary="List gateways", responses=declared())
async def list_gateways(_operator: Operator, deps: Deps) -> list[Gateway]:
    """Every gateway that is at work or lost. For the operator."""
    now = deps.clock.now()
    return [outputs.gateway(one, now) for one in await deps.read(processes.standings)]


@router.post("/{name}/forget", summary="Give up a lost gateway", responses=declared(404, 409))
async def forget_gateway(name: Name, _operator: Operator, deps: Deps) -> ForgottenGateway:
    """Free what a lost gateway holds; what only its journal knows is never charged. For the operator."""
    freed = await deps.change(processes.forget, name, now=deps.clock.now())
    return ForgottenGateway(name=name, freed=format_dollars(freed.sliced_micro), holds=freed.holds)
