"""API keys."""

from fastapi import APIRouter

from surplus.api import outputs
from surplus.api.callers import ManagedKey, ManagerOf, ReaderOf
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.api.inputs import dollars, instant
from surplus.app import keys
from surplus.app.keys import KeySpec
from surplus.billing.budgets import Period
from surplus.identity import service as identity
from surplus.identity.model import Limits, Role
from surplus.wire.keys import Key, KeyCreated, KeyRequest, RotateRequest

router = APIRouter(prefix="/api", tags=["Keys"])


@router.post("/organizations/{org}/keys", status_code=201, summary="Create a key", responses=declared(404))
async def create_key(body: KeyRequest, caller: ManagerOf, deps: Deps) -> KeyCreated:
    """A new key, with its own hard budget if it is given one. Its token is shown this once. For admins."""
    spec = KeySpec(
        project=body.project,
        member=body.member,
        role=Role(body.role),
        name=body.name,
        limits=Limits(rpm=body.rpm, tpm=body.tpm, concurrency=body.concurrency),
        expires_at=instant(body.expires_at, "expires_at"),
        budget_micro=None if body.budget is None else dollars(body.budget, "budget"),
        budget_period=Period(body.budget_period),
    )
    return outputs.key_created(await deps.change(keys.create, deps.ids, caller, spec, now=deps.clock.now()))


@router.get("/organizations/{org}/keys", summary="List keys", responses=declared(404))
async def list_keys(caller: ReaderOf, deps: Deps) -> list[Key]:
    """The organization's keys, oldest first, ended ones too; never a secret."""
    return [outputs.key(one) for one in await deps.read(identity.list_keys, caller.organization.id)]


@router.post("/keys/{key}/rotate", summary="Rotate a key", responses=declared(404, 409))
async def rotate_key(managed: ManagedKey, deps: Deps, body: RotateRequest | None = None) -> KeyCreated:
    """A new token for the same key; the earlier one ends at once, or after the overlap. For admins."""
    by, key = managed
    overlap_s = 0.0 if body is None else body.overlap_s
    made = await deps.change(keys.rotate, deps.ids, by, key, overlap_s=overlap_s, now=deps.clock.now())
    return outputs.key_created(made)


@router.delete("/keys/{key}", summary="Revoke a key", responses=declared(404))
async def revoke_key(managed: ManagedKey, deps: Deps) -> Key:
    """End a key for good; it is refused from the next request on. For admins."""
    by, key = managed
    return outputs.key(await deps.change(keys.revoke, by, key, now=deps.clock.now()))
