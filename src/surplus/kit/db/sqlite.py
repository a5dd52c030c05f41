"""A store in a SQLite file: one writer at a time, and readers beside it."""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from surplus.kit.db.dialect import StoreUnavailable
from surplus.kit.errors import SurplusError

BUSY_S: Final = 10.0
_FAULTS_OF_CALLERS: Final = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)
"""What the database rightly refuses; every other DatabaseError (locked, full, damaged) is the store failing us."""


class SQLite:
    """The file at `path`, created if it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    def engine(self, *, readonly: bool) -> Engine:
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(self.path)),
            poolclass=NullPool,
            hide_parameters=True,  # they are what customers sent, and errors end up in logs
            connect_args={"check_same_thread": False, "isolation_level": None, "timeout": BUSY_S},
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

    def idle(self, connection: Connection) -> bool:
        return not connection.closed

    def translate(self, error: exc.DBAPIError) -> SurplusError | None:
        if isinstance(error, _FAULTS_OF_CALLERS) or not isinstance(error, exc.DatabaseError):
            return None
        message = f"the database {self.name} did not do what was asked ({error.orig}); check its disk"
        return StoreUnavailable(f"{message} and `surplus doctor`", retry_after_s=1)

    def survives(self, error: SurplusError) -> bool:
        return isinstance(error, StoreUnavailable)  # the file is still the file, be it full or locked

    def begin_migration(self, connection: Connection) -> None:
        """Nothing to wait for: a transaction that writes is alone."""
