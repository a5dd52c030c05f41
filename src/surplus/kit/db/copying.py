"""A copy of a whole store, as of one instant, while it is in use; and a new store from such a copy."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar, cast

from sqlalchemy import URL, Connection, inspect

from surplus.kit.db.database import Database
from surplus.kit.db.dialect import StoreUnavailable
from surplus.kit.db.session import ReadSession
from surplus.kit.settings import environment

T = TypeVar("T")

_DUMP: Final = ("--format=custom", "--no-owner", "--no-privileges")
_LOAD: Final = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")


def is_file(database: Database) -> bool:
    """Whether the store is a file of its own, and so is a copy of it: one that can be opened as it is."""
    return not isinstance(database.location, URL)


def copy(database: Database, destination: Path, look: Callable[[ReadSession], T]) -> T:
    """Write the store to the new file `destination` (mode 0600), and answer what `look` saw on the very same snapshot.

    `look` is called when the snapshot stands and before the copy is made. Nobody waits for it: writers go on. Raises
    StoreUnavailable, and OSError where the file cannot be written.
    """

    def work(connection: Connection) -> T:
        destination.touch(mode=0o600, exist_ok=False)
        location = database.location
        if isinstance(location, URL):
            # The snapshot lasts as long as this transaction, which says nothing while the dump is made.
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            snapshot = str(connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())
            seen = look(ReadSession(connection))
            _run("pg_dump", location, *_DUMP, f"--snapshot={snapshot}", f"--file={destination}")
            return seen
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # a snapshot begins with what is read first
        seen = look(ReadSession(connection))
        _copy_file(connection, destination)
        return seen

    return database.inspect(work)


def is_empty(database: Database) -> bool:
    """Whether there is no table yet."""
    return not database.inspect(lambda connection: inspect(connection).get_table_names())


def load(database: Database, source: Path) -> None:
    """Fill the empty store, which is no file, from a copy of one of its kind, all or nothing.

    Raises StoreUnavailable.
    """
    assert isinstance(database.location, URL), "a copy of a file needs no loading"
    _run("pg_restore", database.location, *_LOAD, str(source))


def _copy_file(connection: Connection, destination: Path) -> None:
    source = cast("sqlite3.Connection", connection.connection.driver_connection)
    with closing(sqlite3.connect(destination)) as target:
        try:
            source.backup(target)  # in one step, which therefore stays on the snapshot of its transaction
        except sqlite3.OperationalError as error:
            raise OSError(f"the copy of the database cannot be written to {destination.parent}: {error}") from error


def _run(program: str, url: URL, *arguments: str) -> None:
    """One of PostgreSQL's own programs; the password does not show among its arguments."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not on this machine; install PostgreSQL's client programs, of the server's version"
        raise StoreUnavailable(f"{message} or later (on Debian and Ubuntu: apt-get install postgresql-client)")
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    place = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    command = [found, f"--dbname={place.render_as_string()}", "--no-password", *arguments]
    done = subprocess.run(command, env={**environment(), **secret}, capture_output=True, text=True, check=False)  # noqa: S603  a program found on the path
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[0]
        raise StoreUnavailable(f"{program} did not do what was asked: {said}")
