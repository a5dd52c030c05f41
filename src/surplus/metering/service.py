"""Use-cases of metering: record consumption once, and read it back.

Times choose hours: the UTC hour in which a request was admitted counts where its first second is in `[start, end)`.
"""

from collections.abc import Sequence
from typing import Final

from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.errors import BadRequest
from surplus.metering import store
from surplus.metering.errors import UnknownRecord
from surplus.metering.model import ModelTotals, PricedTotals, Totals, UsageRecord, grouped

LOCK: Final = "4 metering"
"""Held by whoever records: what is known already is decided by one process at a time."""

PAGE_MAX: Final = 1000
AHEAD_S: Final = 15 * 86_400.0
BATCH_MAX: Final = 5000
"""Records per round of statements: stores limit how many values one statement can name."""


def record(session: WriteSession, records: Sequence[UsageRecord]) -> int:
    """Record consumption and add it to the hours; returns how many of the records were new.

    A record counts exactly once by its id, whatever the order, the repetitions and the batches; the first one given
    stays. A repetition has the instant of admission of the first. A handful of statements for every 5,000 records.
    """
    session.exclusive(LOCK)
    new = 0
    for first in range(0, len(records), BATCH_MAX):
        new += _record_batch(session, records[first : first + BATCH_MAX])
    return new


def _record_batch(session: WriteSession, records: Sequence[UsageRecord]) -> int:
    by_id: dict[str, UsageRecord] = {}
    for one in records:
        by_id.setdefault(one.id, one)
    instants = [one.started_at for one in by_id.values()]
    known = store.known(session, list(by_id), first=min(instants), last=max(instants))
    new = [one for one in by_id.values() if one.id not in known]
    if new:
        store.add_records(session, new)
        store.add_hours(session, grouped(new))
    return len(new)


def make_room(session: WriteSession, *, now: float) -> None:
    """Have the place ready where the records of this month and of the next weeks go; cheap where it is ready."""
    session.exclusive(LOCK)
    store.make_room(session, (now, now + AHEAD_S))


def totals(
    session: ReadSession,
    *,
    org: str,
    project: str | None = None,
    key: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Totals:
    """Consumption of an organization, or of one of its projects or keys."""
    return store.sums(session, (), equal=_filters(org, project, key), start=start, end=end)[0][1]


def by_model(
    session: ReadSession,
    *,
    org: str,
    project: str | None = None,
    key: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> list[ModelTotals]:
    """`totals` per model, in the order of their names."""
    sums = store.sums(session, ("model",), equal=_filters(org, project, key), start=start, end=end)
    return [ModelTotals(model, totals) for (model,), totals in sums]


def by_price(
    session: ReadSession, *, org: str, start: float | None = None, end: float | None = None
) -> list[PricedTotals]:
    """`totals` of an organization per model and version of its price: what a statement is made of."""
    sums = store.sums(session, ("model", "sku", "price_version"), equal={"org": org}, start=start, end=end)
    return [PricedTotals(model, sku, version, totals) for (model, sku, version), totals in sums]


def records(session: ReadSession, *, org: str, before: str | None = None, limit: int = 100) -> list[UsageRecord]:
    """Usage records of an organization by instant of admission, newest first; at most 1000.

    `before` is the id of the last record of the page before. Raises UnknownRecord if the organization has no such
    record, BadRequest if `limit` is out of range.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise BadRequest(f"limit is {limit}; ask for 1 to {PAGE_MAX} records, and for more page by page", param="limit")
    if before is None:
        return store.page(session, org, None, limit)
    position = store.position(session, org, before)
    if position is None:
        message = f"there is no usage record {before!r}; give the id of the last record of the page before"
        raise UnknownRecord(message, param="before")
    return store.page(session, org, position, limit)


def earned_by_records(session: ReadSession) -> tuple[int, int]:
    """Everything charged and everything overrun (micro-dollars), by reading every record."""
    return store.earned_by_records(session)


def earned_by_hours(session: ReadSession) -> tuple[int, int]:
    """Everything charged and everything overrun (micro-dollars), by the hours."""
    return store.earned_by_hours(session)


def _filters(org: str, project: str | None, key: str | None) -> dict[str, str]:
    given = {"org": org, "project": project, "key": key}
    return {name: value for name, value in given.items() if value is not None}
