"""Tables that are cut into one piece per UTC month where the database can do that: old months can be dropped whole.

A month's piece is made by whoever writes the first row of it, or ahead of that. It is made beside the table and then
attached, because that is the way that lets others read and write the table meanwhile.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, text

_COLUMN: Final = "monthly"
_MISSING: Final = text(
    "SELECT wanted.name FROM unnest(CAST(:names AS text[])) AS wanted(name) WHERE to_regclass(wanted.name) IS NULL"
)


def monthly(column: str) -> dict[str, Any]:
    """Keywords for a Table whose rows belong to the UTC month of `column` (epoch seconds, part of the primary key)."""
    return {"postgresql_partition_by": f"RANGE ({column})", "info": {_COLUMN: column}}


def missing(connection: Connection, table: Table, instants: Iterable[float]) -> list[tuple[str, float, float]]:
    """The pieces that these instants need and the database lacks: name, begin and end of the month."""
    assert _COLUMN in table.info, f"{table.name} is not declared as monthly"
    if connection.dialect.name != "postgresql":
        return []
    wanted = {name: (start, end) for name, start, end in (_month(table.name, instant) for instant in instants)}
    found = connection.execute(_MISSING, {"names": sorted(wanted)}).scalars()
    return [(name, *wanted[name]) for name in sorted(found)]


def make(connection: Connection, table: Table, months: Iterable[tuple[str, float, float]]) -> None:
    """Make pieces that are missing."""
    for name, start, end in months:
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {table.name} INCLUDING ALL)")
        bounds = f"FOR VALUES FROM ({start}) TO ({end})"
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ATTACH PARTITION {name} {bounds}")


def is_piece(name: str, tables: Iterable[Table]) -> bool:
    """Whether a table of this name is a month of one of the tables."""
    return any(_COLUMN in table.info and name.startswith(f"{table.name}_m") for table in tables)


def _month(table: str, instant: float) -> tuple[str, float, float]:
    """The name of the month's piece, and the month as `[start, end)`."""
    at = datetime.fromtimestamp(instant, UTC)
    start = datetime(at.year, at.month, 1, tzinfo=UTC)
    end = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return f"{table}_m{at.year:04}{at.month:02}", start.timestamp(), end.timestamp()
