"""Sessions: what a use-case may do inside one transaction.

A function that takes a ReadSession cannot write, and the type checker knows it. Neither can commit: the transaction
belongs to `Database.read` and `Database.write`, which open it and end it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Delete, Dialect, Insert, Row, Select, Table, Update
from sqlalchemy.dialects import postgresql, sqlite

AnySelect = Select[*tuple[Any, ...]]
AnyRow = Row[*tuple[Any, ...]]
Rows = Sequence[Mapping[str, Any]]


class ReadSession:
    """A consistent snapshot to read from."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, statement: AnySelect, parameters: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        """Every row of the answer."""
        return self._connection.execute(statement, parameters).all()

    def first(self, statement: AnySelect, parameters: Mapping[str, Any] | None = None) -> AnyRow | None:
        """The first row of the answer, or None."""
        return self._connection.execute(statement, parameters).first()

    def scalar(self, statement: AnySelect, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        return self._connection.execute(statement, parameters).scalar()


class WriteSession(ReadSession):
    """The one transaction that may write. Nothing in it may wait for a network."""

    def execute(self, statement: Insert | Update | Delete, rows: Mapping[str, Any] | Rows | None = None) -> int:
        """Run a statement once, or once per row; returns how many rows it touched (-1 where a driver cannot tell)."""
        if isinstance(rows, Sequence) and not rows:  # an empty list would run the statement once, with no values
            return 0
        return self._connection.execute(statement, rows).rowcount

    def all_for_update(self, statement: AnySelect, parameters: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        """Read rows that this transaction will change. Sort by primary key: rows are locked in that order."""
        return self._connection.execute(statement.with_for_update(), parameters).all()

    def insert(self, table: Table, rows: Rows) -> None:
        """Insert rows, all with the same columns. Raises what the store says of a key that is there already."""
        self._many(table, rows, _plain_insert)

    def insert_new(self, table: Table, rows: Rows) -> None:
        """Insert rows; those whose primary or unique key is there already are left as they are."""
        self._many(table, rows, _insert_new)

    def upsert(self, table: Table, rows: Rows, *, replace: Sequence[str] = (), add: Sequence[str] = ()) -> None:
        """Insert rows by primary key; where a row exists, replace some of its columns and add to others."""
        self._many(table, rows, _upsert, tuple(replace), tuple(add))

    def _many(self, table: Table, rows: Rows, make: "_Maker", *columns: tuple[str, ...]) -> None:
        if rows:
            written = _written(self._connection.dialect, table, tuple(rows[0]), make, columns)
            self._connection.exec_driver_sql(written.sql, [written.values(row) for row in rows])

    def drop_rows(self, table: Table) -> None:
        """Delete every row of a projection before it is rebuilt."""
        self._connection.execute(table.delete())


class _Maker(Protocol):
    def __call__(self, table: Table, dialect: str, *columns: tuple[str, ...]) -> Insert: ...


class _Written(NamedTuple):
    """A statement as the driver takes it, and how a row becomes its parameters."""

    sql: str
    values: Callable[[Mapping[str, Any]], Any]


@cache  # making and compiling a statement costs more than running it; there are as many as call sites
def _written(
    dialect: Dialect, table: Table, names: tuple[str, ...], make: _Maker, columns: tuple[tuple[str, ...], ...]
) -> _Written:
    compiled = make(table, dialect.name, *columns).compile(dialect=dialect, column_keys=list(names))
    order: Sequence[str] | None = getattr(compiled, "positiontup", None)
    if order is None:  # this driver takes parameters by name
        return _Written(str(compiled), dict)
    assert len(order) > 1, "a table of one column needs no helper to write it"
    return _Written(str(compiled), itemgetter(*order))


def _plain_insert(table: Table, dialect: str, *_columns: tuple[str, ...]) -> Insert:
    return _insert(table, dialect)


def _insert_new(table: Table, dialect: str, *_columns: tuple[str, ...]) -> Insert:
    return _insert(table, dialect).on_conflict_do_nothing()


def _upsert(table: Table, dialect: str, *columns: tuple[str, ...]) -> Insert:
    replace, add = columns
    insert = _insert(table, dialect)
    changes: dict[str, Any] = {name: insert.excluded[name] for name in replace}
    changes.update({name: table.c[name] + insert.excluded[name] for name in add})
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


def _insert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
