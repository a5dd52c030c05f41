"""Writes many rows with one statement that is made once per call site."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Dialect, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def write(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    make: "Maker",
    *columns: tuple[str, ...],
) -> None:
    """Run the statement of `make` once per row; no rows is no statement."""
    if rows:
        written = _written(connection.dialect, table, tuple(rows[0]), make, columns)
        connection.exec_driver_sql(written.sql, [written.values(row) for row in rows])


class Maker(Protocol):
    """Makes the statement for a table, from the columns that it needs to know."""

    def __call__(self, table: Table, dialect: str, *columns: tuple[str, ...]) -> Insert: ...


class _Written(NamedTuple):
    """A statement as the driver takes it, and how a row becomes its parameters."""

    sql: str
    values: Callable[[Mapping[str, Any]], Any]


@cache  # making and compiling a statement costs more than running it; there are as many as call sites
def _written(
    dialect: Dialect, table: Table, names: tuple[str, ...], make: Maker, columns: tuple[tuple[str, ...], ...]
) -> _Written:
    compiled = make(table, dialect.name, *columns).compile(dialect=dialect, column_keys=list(names))
    order: Sequence[str] | None = getattr(compiled, "positiontup", None)
    if order is None:  # this driver takes parameters by name
        return _Written(str(compiled), dict)
    assert len(order) > 1, "a table of one column needs no helper to write it"
    return _Written(str(compiled), itemgetter(*order))


def plain(table: Table, dialect: str, *_columns: tuple[str, ...]) -> Insert:
    """Every row, or an error."""
    return _insert(table, dialect)


def new_only(table: Table, dialect: str, *_columns: tuple[str, ...]) -> Insert:
    """The rows whose keys are free."""
    return _insert(table, dialect).on_conflict_do_nothing()


def merge(table: Table, dialect: str, *columns: tuple[str, ...]) -> Insert:
    """Every row; where its primary key is taken, columns are replaced, and others added to."""
    replace, add = columns
    insert = _insert(table, dialect)
    changes: dict[str, Any] = {name: insert.excluded[name] for name in replace}
    changes.update({name: table.c[name] + insert.excluded[name] for name in add})
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


def _insert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
