"""Usage, records and invoices."""

from typing import Annotated

from fastapi import APIRouter, Query

from surplus.api import outputs
from surplus.api.callers import MoneyReaderOf, ReaderOf
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.api.inputs import PageSize, instant
from surplus.app import usage
from surplus.metering import service as metering
from surplus.wire.invoices import Invoice
from surplus.wire.usage import Record, Usage

router = APIRouter(prefix="/api/organizations/{org}", tags=["Usage"])


@router.get("/usage", summary="Get usage", responses=declared(404))
async def get_usage(
    caller: ReaderOf,
    deps: Deps,
    project: Annotated[str | None, Query(description="Only of this project, by name or id.")] = None,
    key: Annotated[str | None, Query(description="Only of this key, by id.")] = None,
    start: Annotated[str | None, Query(alias="from", description="From this instant on (ISO 8601).")] = None,
    end: Annotated[str | None, Query(alias="to", description="Before this instant (ISO 8601).")] = None,
) -> Usage:
    """Sums, in all and by model. Times choose UTC hours: one counts if it begins within them."""
    found = await deps.read(
        usage.report,
        org=caller.organization.id,
        project=project,
        key=key,
        start=instant(start, "from"),
        end=instant(end, "to"),
    )
    return outputs.report(found)


@router.get("/records", summary="List usage records", responses=declared(404))
async def list_records(
    caller: ReaderOf,
    deps: Deps,
    before: Annotated[str | None, Query(description="The id of the last record of the page before.")] = None,
    limit: PageSize = 100,
) -> list[Record]:
    """What each request consumed, newest first."""
    found = await deps.read(metering.records, org=caller.organization.id, before=before, limit=limit)
    return [outputs.record(one) for one in found]


@router.get("/invoice", summary="Get an invoice", responses=declared(404))
async def get_invoice(
    caller: MoneyReaderOf,
    deps: Deps,
    month: Annotated[str | None, Query(description="A UTC month such as 2026-11; left out: the present one.")] = None,
) -> Invoice:
    """The draft invoice of a month: what was used, line by line, exact, and how that became what was charged."""
    org = caller.organization
    chosen, statement = await deps.read(usage.invoice, org=org.id, month=month, now=deps.clock.now())
    return outputs.invoice(org, chosen, statement)
