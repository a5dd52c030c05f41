"""All SQL of metering."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Column, Table, func, select, tuple_

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


NEAR_S: Final = 86_400.0
"""How far from each other two accounts of one admission can be: what is repeated is repeated with its own instant."""


def known(session: ReadSession, ids: Sequence[str], *, first: float, last: float) -> set[str]:
    """Which of these ids are recorded already, of requests that were admitted around `[first, last]`.

    Records are kept by month, so that the instants say where to look; a day of slack costs nothing.
    """
    near = records.c.started_at.between(first - NEAR_S, last + NEAR_S)
    return {row.id for row in session.all(select(records.c.id).where(records.c.id.in_(ids), near))}


def make_room(session: WriteSession, instants: Iterable[float]) -> None:
    """Have the months that records of these instants go to."""
    session.make_room(records, instants)


def add_records(session: WriteSession, new: Iterable[UsageRecord]) -> None:
    """Insert records that are not there yet."""
    rows = [_record_row(record) for record in new]
    make_room(session, [row["started_at"] for row in rows])
    session.insert(records, rows)


def add_hours(session: WriteSession, sums: Mapping[Bucket, Totals]) -> None:
    """Add consumption to the hours."""
    session.upsert(hours, [{**asdict(bucket), **_totals_row(totals)} for bucket, totals in sums.items()], add=_SUMMED)


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


def earned_by_records(session: ReadSession) -> tuple[int, int]:
    """Everything charged and everything overrun, by reading every record."""
    return _earned(session, records)


def earned_by_hours(session: ReadSession) -> tuple[int, int]:
    """Everything charged and everything overrun, by the hours."""
    return _earned(session, hours)


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
    row = dict(zip(_COLUMNS, (*_plain(record), record.outcome.value, *_usage(record.usage)), strict=True))
    if record.engine_request_id is not None and "\0" in record.engine_request_id:
        row["engine_request_id"] = record.engine_request_id.replace("\0", "")  # not every database keeps that
    return row


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


def _earned(session: ReadSession, table: Table) -> tuple[int, int]:
    row = session.first(select(func.sum(table.c.charged_micro), func.sum(table.c.overrun_micro)))
    return (0, 0) if row is None else (int(row[0] or 0), int(row[1] or 0))
