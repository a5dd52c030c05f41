"""All SQL of metering."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Column, func, select, tuple_

from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.db.session import AnyRow, AnySelect
from surplus.kit.money import GRAINS_PER_MICRO, GRAINS_PER_PICO
from surplus.metering.model import Bucket, Outcome, Totals, UsageRecord
from surplus.metering.tables import hours, records
from surplus.metering.usage import TokenUsage

_USAGE: Final = TokenUsage.__struct_fields__
_SUMMED: Final = tuple(column.name for column in hours.columns if not column.primary_key)
_PLAIN: Final = tuple(name for name in UsageRecord.__struct_fields__ if name not in ("usage", "outcome"))
_COLUMNS: Final = (*_PLAIN, "outcome", *_USAGE)
_plain: Final = attrgetter(*_PLAIN)
_usage: Final = attrgetter(*_USAGE)


def known(session: ReadSession, ids: Sequence[str]) -> set[str]:
    """Which of these ids are recorded already."""
    return {row.id for row in session.all(select(records.c.id).where(records.c.id.in_(ids)))}


def add_records(session: WriteSession, new: Iterable[UsageRecord]) -> None:
    """Insert records that are not there yet.

    A plain insert on purpose: should another process record the same id between `known` and here, this transaction
    fails and is tried again, where ignoring the row would add it to the hours twice.
    """
    session.insert(records, [_record_row(record) for record in new])


def add_hours(session: WriteSession, sums: Mapping[Bucket, Totals]) -> None:
    """Add consumption to the hours."""
    rows = [{**asdict(bucket), **_totals_row(totals)} for bucket, totals in sums.items()]
    session.upsert(hours, rows, add=_SUMMED)


def sums(
    session: ReadSession, by: Sequence[str], *, equal: Mapping[str, str], start: float | None, end: float | None
) -> list[tuple[tuple[str, ...], Totals]]:
    """The hours summed by the columns `by`, in their order. `equal` and `[start, end)` choose the hours."""
    groups = [hours.c[name] for name in by]
    amounts = [func.coalesce(func.sum(hours.c[name]), 0).label(name) for name in _SUMMED]
    query: AnySelect = select(*groups, *amounts).group_by(*groups).order_by(*groups)
    query = query.where(*(hours.c[name] == value for name, value in equal.items()))
    if start is not None:
        query = query.where(hours.c.hour >= start)
    if end is not None:
        query = query.where(hours.c.hour < end)
    return [(tuple(row[: len(by)]), _totals(row)) for row in session.all(query)]


def page(session: ReadSession, org: str, position: tuple[float, str] | None, limit: int) -> list[UsageRecord]:
    """Records of an organization that come after `position` (started_at, id), newest first."""
    query: AnySelect = select(records).where(records.c.org == org)
    if position is not None:
        query = query.where(tuple_(records.c.started_at, records.c.id) < tuple_(*position))
    newest_first: tuple[Any, ...] = (records.c.started_at.desc(), records.c.id.desc())
    return [_record(row) for row in session.all(query.order_by(*newest_first).limit(limit))]


def position(session: ReadSession, org: str, record_id: str) -> tuple[float, str] | None:
    """Where a record stands in its organization's pages; None if the organization has no such record."""
    started_at: Column[float] = records.c.started_at
    row = session.first(select(started_at).where(records.c.org == org, records.c.id == record_id))
    return None if row is None else (row.started_at, record_id)


def _record_row(record: UsageRecord) -> dict[str, Any]:
    return dict(zip(_COLUMNS, (*_plain(record), record.outcome.value, *_usage(record.usage)), strict=True))


def _record(row: AnyRow) -> UsageRecord:
    plain: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    usage = TokenUsage(*(getattr(row, name) for name in _USAGE))
    return UsageRecord(**plain, usage=usage, outcome=Outcome(row.outcome))


def _totals_row(totals: Totals) -> dict[str, int]:
    micro, rest = divmod(totals.cost_grains, GRAINS_PER_MICRO)
    pico, grains = divmod(rest, GRAINS_PER_PICO)
    return {
        "requests": totals.requests,
        "degraded": totals.degraded,
        **{name: getattr(totals.usage, name) for name in _USAGE},
        "waste_output": totals.waste_output,
        "cost_micro": micro,
        "cost_pico": pico,
        "cost_grains": grains,
        "charged_micro": totals.charged_micro,
        "overrun_micro": totals.overrun_micro,
    }


def _totals(row: AnyRow) -> Totals:
    # int(): some databases answer the sum of 64-bit integers as a decimal
    amount = {name: int(getattr(row, name)) for name in _SUMMED}
    return Totals(
        requests=amount["requests"],
        degraded=amount["degraded"],
        usage=TokenUsage(*(amount[name] for name in _USAGE)),
        waste_output=amount["waste_output"],
        cost_grains=amount["cost_micro"] * GRAINS_PER_MICRO
        + amount["cost_pico"] * GRAINS_PER_PICO
        + amount["cost_grains"],
        charged_micro=amount["charged_micro"],
        overrun_micro=amount["overrun_micro"],
    )
