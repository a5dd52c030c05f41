"""The server itself: its ledger, its status, health and metrics."""

from fastapi import APIRouter, Request

from surplus.api import outputs
from surplus.api.callers import Operator
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.gateway.standing import Standing, remedy
from surplus.kit.clock import iso
from surplus.ledger import service as ledger
from surplus.wire.ledger import Head, LedgerStanding, Verification
from surplus.wire.status import Status

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
