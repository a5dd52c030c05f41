"""Sessions: what a use-case may do inside one transaction.

A function that takes a ReadSession cannot write, and the type checker knows it. Neither can commit: the transaction
belongs to `Database.read` and `Database.write`, which open it and end it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Row, Select, Table, Update
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

    def insert_new(self, table: Table, rows: Rows) -> None:
        """Insert rows; those whose primary or unique key is there already are left as they are."""
        if rows:
            self._connection.execute(_insert_new(table, self._connection.dialect.name), rows)

    def upsert(self, table: Table, rows: Rows, *, replace: Sequence[str] = (), add: Sequence[str] = ()) -> None:
        """Insert rows by primary key; where a row exists, replace some of its columns and add to others."""
        if rows:
            statement = _upsert(table, self._connection.dialect.name, tuple(replace), tuple(add))
            self._connection.execute(statement, rows)

    def drop_rows(self, table: Table) -> None:
        """Delete every row of a projection before it is rebuilt."""
        self._connection.execute(table.delete())


# Statements are made once: making one costs more than running it.


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    return _insert(table, dialect).on_conflict_do_nothing()


@cache
def _upsert(table: Table, dialect: str, replace: tuple[str, ...], add: tuple[str, ...]) -> Insert:
    insert = _insert(table, dialect)
    changes: dict[str, Any] = {name: insert.excluded[name] for name in replace}
    changes.update({name: table.c[name] + insert.excluded[name] for name in add})
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


def _insert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
