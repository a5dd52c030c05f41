"""Sessions: what a use-case may do inside one transaction.

A function that takes a ReadSession cannot write, and the type checker knows it. Neither can commit: the transaction
belongs to `Database.read` and `Database.write`, which open it and end it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Row, Select, Table, Update

from surplus.kit.db import locks, partitions, rows

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

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._held: list[str] = []

    def exclusive(self, name: str) -> None:
        """From here to the end of the transaction no other process is between these two points with this name.

        What is read after this is what the last one who was here has left: for writes that rest on a read. Locks are
        taken in the alphabetical order of their names, whoever takes them; one that is held already costs nothing.
        """
        if name in self._held:
            return
        assert not self._held or name > self._held[-1], f"the lock {name!r} comes before {self._held[-1]!r}"
        self._held.append(name)
        locks.take(self._connection, name)

    def make_room(self, table: Table, instants: Iterable[float]) -> None:
        """Make the months that rows of these instants (epoch seconds) go to, where a table is kept by month.

        To be called under the one lock that all who write to the table hold.
        """
        assert self._held, "two processes could make one month"
        partitions.make(self._connection, table, partitions.missing(self._connection, table, instants))

    def execute(self, statement: Insert | Update | Delete, values: Mapping[str, Any] | Rows | None = None) -> int:
        """Run a statement once, or once per row; returns how many rows it touched (-1 where a driver cannot tell)."""
        if isinstance(values, Sequence) and not values:  # an empty list would run the statement once, with none
            return 0
        return self._connection.execute(statement, values).rowcount

    def all_for_update(self, statement: AnySelect, parameters: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        """Read rows that this transaction will change. Sort by primary key: rows are locked in that order."""
        return self._connection.execute(statement.with_for_update(), parameters).all()

    def insert(self, table: Table, values: Rows) -> None:
        """Insert rows, all with the same columns. Raises what the store says of a key that is there already."""
        rows.write(self._connection, table, values, rows.plain)

    def insert_new(self, table: Table, values: Rows) -> None:
        """Insert rows; those whose primary or unique key is there already are left as they are."""
        rows.write(self._connection, table, values, rows.new_only)

    def upsert(self, table: Table, values: Rows, *, replace: Sequence[str] = (), add: Sequence[str] = ()) -> None:
        """Insert rows by primary key; where a row exists, replace some of its columns and add to others."""
        rows.write(self._connection, table, values, rows.merge, tuple(replace), tuple(add))

    def drop_rows(self, table: Table) -> None:
        """Delete every row of a projection before it is rebuilt."""
        self._connection.execute(table.delete())
