"""Opens the store and runs functions in transactions on database threads.

Use-cases are plain functions of a session: a transaction costs one hop to a thread, whatever its number of statements,
and nothing inside it can wait for a network. SQLite has one writer, so all writes go through one thread, in order.
"""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from surplus.kit.db.session import ReadSession, WriteSession
from surplus.kit.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
_FAULTS_OF_CALLERS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)
"""What the database rightly refuses; every other DatabaseError (locked, full, damaged) is the store failing us."""


class StoreUnavailable(Unavailable):
    """Our own database did not answer, is full, or is locked by someone else."""

    code = "store_unavailable"


def _sqlite_engine(path: Path, *, readonly: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=NullPool,
        hide_parameters=True,  # they are what customers sent, and errors end up in logs
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 10.0},
    )

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        # WAL lets readers go on beside the writer; FULL makes a commit survive a power cut, which money needs.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        if readonly:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


class Database:
    """One store. `read` and `write` are the only places where a transaction begins and ends."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open (and create, if missing) the SQLite file at `path`. Raises StoreUnavailable if it cannot be opened.

        `readonly` is for a process beside the one that writes: nothing is created and `write` is a mistake.
        """
        if readonly and not path.exists():
            raise StoreUnavailable(f"there is no database {path.name}; the process that writes it makes it")
        self.path = path
        self._readonly = readonly
        self._write_engine = _sqlite_engine(path, readonly=False)
        self._read_engine = _sqlite_engine(path, readonly=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="surplus-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="surplus-read")
        self._local = threading.local()
        self._open: list[Connection] = []
        if readonly:
            self._readers.submit(self._connection, self._read_engine, "read").result()
        else:
            self._writer.submit(self._connection, self._write_engine, "write").result()

    def _connection(self, engine: Engine, name: str) -> Connection:
        connection: Connection | None = getattr(self._local, name, None)
        if connection is None:
            try:
                connection = engine.connect()
            except exc.DBAPIError as error:
                raise _unavailable(self.path, error) from error
            setattr(self._local, name, connection)
            self._open.append(connection)
        return connection

    @contextmanager
    def _transaction(self, engine: Engine, name: str) -> Generator[Connection]:
        connection = self._connection(engine, name)
        try:
            with connection.begin():
                yield connection
        except _FAULTS_OF_CALLERS:
            raise
        except exc.DatabaseError as error:
            raise _unavailable(self.path, error) from error

    def _write(self, function: Callable[[WriteSession], T]) -> T:
        assert not self._readonly, "another process writes; ask it"
        with self._transaction(self._write_engine, "write") as connection:
            return function(WriteSession(connection))

    def _read(self, function: Callable[[ReadSession], T]) -> T:
        with self._transaction(self._read_engine, "read") as connection:
            return function(ReadSession(connection))

    async def write(self, function: Callable[Concatenate[WriteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(session, ...)` in one write transaction: committed when it returns, undone when it raises.

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
        """Run schema changes on the write connection in one transaction."""

        def work() -> None:
            with self._transaction(self._write_engine, "write") as connection:
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


def _unavailable(path: Path, error: exc.DBAPIError) -> StoreUnavailable:
    message = f"the database {path.name} did not do what was asked ({error.orig}); check its disk and `surplus doctor`"
    return StoreUnavailable(message, retry_after_s=1)
