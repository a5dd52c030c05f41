"""Opens the store and runs functions in transactions on database threads.

Use-cases are plain functions of a session: a transaction costs one hop to a thread, whatever its number of statements,
and nothing inside it can wait for a network. All writes of a process go through one thread, in order: SQLite has one
writer, and on PostgreSQL it is the group, not the number of connections, that makes writing fast.
"""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, exc

from surplus.kit.db.dialect import Dialect, StoreUnavailable
from surplus.kit.db.postgres import PostgreSQL, parse
from surplus.kit.db.session import ReadSession, WriteSession
from surplus.kit.db.sqlite import SQLite
from surplus.kit.errors import SurplusError

P = ParamSpec("P")
T = TypeVar("T")

READERS: Final = 4


class Database:
    """One store. `read` and `write` are the only places where a transaction begins and ends."""

    def __init__(self, location: Path | URL | str, *, readonly: bool = False) -> None:
        """Open the SQLite file at a path (created, if missing), or the PostgreSQL database at a URL (it has to exist).

        `readonly` is for a process beside one that writes: nothing is created, and `write` is a mistake.
        Raises StoreUnavailable if it cannot be opened, BadSetting for a text that is no such URL.
        """
        self._readonly = readonly
        self.location = parse(location) if isinstance(location, str) else location
        self._dialect = _dialect(self.location)
        self._write_engine = self._dialect.engine(readonly=False)
        self._read_engine = self._dialect.engine(readonly=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="surplus-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="surplus-read")
        self._local = threading.local()
        self._open: set[Connection] = set()
        try:
            if readonly and isinstance(self.location, Path) and not self.location.exists():
                raise StoreUnavailable(f"there is no database {self.name}; the process that writes it makes it")
            if readonly:
                self._readers.submit(self._connection, self._read_engine, "read").result()
            else:
                self._writer.submit(self._connection, self._write_engine, "write").result()
        except SurplusError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What messages and logs call it; it holds no password."""
        return self._dialect.name

    def _connection(self, engine: Engine, name: str) -> Connection:
        connection: Connection | None = getattr(self._local, name, None)
        if connection is not None and not self._dialect.idle(connection):
            self._drop(name)
            connection = None
        if connection is None:
            try:
                connection = engine.connect()
            except exc.DBAPIError as error:
                raise self._dialect.translate(error) or error from error
            setattr(self._local, name, connection)
            self._open.add(connection)
        return connection

    def _drop(self, name: str) -> None:
        """Forget this thread's connection: the next transaction opens another."""
        connection: Connection = getattr(self._local, name)
        delattr(self._local, name)
        self._open.discard(connection)
        connection.invalidate()
        connection.close()

    @contextmanager
    def _transaction(self, engine: Engine, name: str) -> Generator[Connection]:
        connection = self._connection(engine, name)
        try:
            with connection.begin():
                yield connection
        except exc.DBAPIError as error:
            seen = self._dialect.translate(error)
            if seen is None:
                raise
            if not self._dialect.survives(seen):
                self._drop(name)
            raise seen from error

    def _write(self, function: Callable[[WriteSession], T]) -> T:
        assert not self._readonly, "another process writes; ask it"
        with self._transaction(self._write_engine, "write") as connection:
            return function(WriteSession(connection))

    def _read(self, function: Callable[[ReadSession], T]) -> T:
        with self._transaction(self._read_engine, "read") as connection:
            return function(ReadSession(connection))

    async def write(self, function: Callable[Concatenate[WriteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(session, ...)` in one write transaction: committed when it returns, undone when it raises.

        Raises StoreUnavailable if the store failed. Where it failed in the commit itself nobody knows whether that
        happened, so nothing is tried again here: what is written again has to be known by its key.
        If the caller is cancelled, a transaction that has begun goes on and one that has not never begins.
        """
        return await asyncio.wrap_future(self._writer.submit(self._write, lambda s: function(s, *args, **kwargs)))

    async def read(self, function: Callable[Concatenate[ReadSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(session, ...)` on a snapshot that does not move while it reads."""
        return await asyncio.wrap_future(self._readers.submit(self._read, lambda s: function(s, *args, **kwargs)))

    def write_now(self, function: Callable[Concatenate[WriteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write` for callers without an event loop (commands, migrations, tests)."""
        return self._writer.submit(self._write, lambda s: function(s, *args, **kwargs)).result()

    def read_now(self, function: Callable[Concatenate[ReadSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`read` for callers without an event loop."""
        return self._readers.submit(self._read, lambda s: function(s, *args, **kwargs)).result()

    def inspect(self, look: Callable[[Connection], T]) -> T:
        """Run what needs the connection itself, such as a look at the schema, on a snapshot; it cannot write."""

        def work() -> T:
            with self._transaction(self._read_engine, "read") as connection:
                return look(connection)

        return self._readers.submit(work).result()

    def migrate(self, run: Callable[[Connection], None]) -> None:
        """Run schema changes on the write connection in one transaction, while no other process does."""

        def work() -> None:
            with self._transaction(self._write_engine, "write") as connection:
                self._dialect.begin_migration(connection)
                run(connection)

        self._writer.submit(work).result()

    def close(self) -> None:
        """Finish what was submitted and close every connection."""
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._write_engine.dispose()
        self._read_engine.dispose()


def _dialect(location: Path | URL) -> Dialect:
    return PostgreSQL(location) if isinstance(location, URL) else SQLite(location)
