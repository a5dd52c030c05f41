"""What is sold and what runs: prices, models, deployments and replicas."""

from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Path

from surplus.api import outputs
from surplus.api.callers import AnyKey, Operator
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.api.inputs import instant
from surplus.app import prices
from surplus.billing import service as billing
from surplus.billing.rating import TokenClass
from surplus.serving import service as serving
from surplus.serving.spec import DeploymentSpec
from surplus.wire.deployments import Deployment, DeploymentRequest, Replica
from surplus.wire.models import Model
from surplus.wire.prices import Price, PriceRequest

router = APIRouter(prefix="/api", tags=["Models"])

DeploymentId = Annotated[str, Path(description="Its id.")]


@router.post("/prices", status_code=201, summary="Publish prices", responses=declared(409))
async def publish_price(body: PriceRequest, _operator: Operator, deps: Deps) -> Price:
    """Prices of a model from an instant on, for good: a price that was published never changes. For the operator."""
    given = {name: getattr(body, name.value) for name in TokenClass}
    sheet = await deps.change(
        prices.publish,
        deps.ids,
        body.model,
        {name: text for name, text in given.items() if text is not None},
        effective_from=instant(body.effective_from, "effective_from"),
        now=deps.clock.now(),
        force=body.force,
    )
    return outputs.price(sheet)


@router.get("/prices", summary="List prices", responses=declared())
async def list_prices(_key: AnyKey, deps: Deps) -> list[Price]:
    """The prices in force, and those to come."""
    return [outputs.price(sheet) for sheet in await deps.read(billing.price_sheets, now=deps.clock.now())]


@router.get("/models", summary="List models", responses=declared())
async def list_models(_key: AnyKey, deps: Deps) -> list[Model]:
    """Every model that has a deployment, with the price of the one that is preferred."""
    in_force = await deps.read(prices.in_force, now=deps.clock.now())
    found: list[Model] = []
    for info in deps.pool.models():
        deployments = deps.pool.deployments(info.id)
        sheet = in_force.get(deployments[0].sku)
        found.append(
            Model(
                id=info.id,
                ready=info.ready,
                context=info.context,
                embeddings=info.embeddings,
                deployments=len(deployments),
                price=None if sheet is None else outputs.price(sheet),
            )
        )
    return found


@router.post("/deployments", status_code=201, summary="Create a deployment", responses=declared(409))
async def create_deployment(body: DeploymentRequest, _operator: Operator, deps: Deps) -> Deployment:
    """A model on an engine; its replicas start at once. For the operator."""
    spec = DeploymentSpec(**{field.name: getattr(body, field.name) for field in fields(DeploymentSpec)})
    made = await deps.change(serving.create_deployment, deps.ids, spec, now=deps.clock.now())
    return outputs.deployment(made)


@router.get("/deployments", summary="List deployments", responses=declared())
async def list_deployments(_operator: Operator, deps: Deps) -> list[Deployment]:
    """All deployments, by model, then in the order in which they are preferred. For the operator."""
    return [outputs.deployment(one) for one in await deps.read(serving.list_deployments)]


@router.post("/deployments/{deployment:path}/drain", summary="Drain a deployment", responses=declared(404))
async def drain_deployment(deployment: DeploymentId, _operator: Operator, deps: Deps) -> Deployment:
    """No new requests for it; its replicas end when the present ones have ended. For the operator."""
    return outputs.deployment(await deps.change(serving.drain_deployment, deployment))


@router.delete("/deployments/{deployment:path}", summary="Delete a deployment", responses=declared(404))
async def delete_deployment(deployment: DeploymentId, _operator: Operator, deps: Deps) -> Deployment:
    """Forget a deployment; where it still runs, it is drained first. For the operator."""
    found = await deps.read(serving.get_deployment, deployment)
    await deps.change(serving.delete_deployment, deployment)
    return outputs.deployment(found)


@router.get("/replicas", summary="List replicas", responses=declared())
async def list_replicas(_operator: Operator, deps: Deps) -> list[Replica]:
    """Every running engine, also those that are leaving. For the operator."""
    now = deps.clock.monotonic()
    return [outputs.replica(one, now) for one in deps.pool.replicas()]
