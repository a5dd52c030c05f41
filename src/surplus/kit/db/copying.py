"""A copy of a whole store, as of one instant, while it is in use."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy import Connection

from surplus.kit.db.database import Database
from surplus.kit.db.session import ReadSession

T = TypeVar("T")


def copy(database: Database, destination: Path, look: Callable[[ReadSession], T]) -> T:
    """Write the store to the new file `destination` (mode 0600), and answer what `look` saw on the very same snapshot.

    `look` is called when the snapshot stands and before the copy is made. Nobody waits for it: writers go on. Raises
    StoreUnavailable, and OSError where the file cannot be written.
    """

    def work(connection: Connection) -> T:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # a snapshot begins with what is read first
        seen = look(ReadSession(connection))
        _copy_file(connection, destination)
        return seen

    return database.inspect(work)


def _copy_file(connection: Connection, destination: Path) -> None:
    destination.touch(mode=0o600, exist_ok=False)
    source = cast("sqlite3.Connection", connection.connection.driver_connection)
    with closing(sqlite3.connect(destination)) as target:
        try:
            source.backup(target)  # in one step, which therefore stays on the snapshot of its transaction
        except sqlite3.OperationalError as error:
            raise OSError(f"the copy of the database cannot be written to {destination.parent}: {error}") from error
