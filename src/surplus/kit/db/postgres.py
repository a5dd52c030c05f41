"""A store in a PostgreSQL database: many processes, on one host or on many.

The driver is psycopg, which SQLAlchemy loads when an engine is made, so that a server on SQLite never does.
"""

import select
from typing import Any, Final, Protocol, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from surplus.kit.db import locks
from surplus.kit.db.dialect import StoreUnavailable
from surplus.kit.errors import BadRequest, BadSetting, SurplusError

SCHEMES: Final = ("postgresql", "postgres")
OLDEST: Final = 14
"""The first version with all that is used here; older ones get no corrections any more."""
ENCODING: Final = "UTF8"

_CONNECT: Final[dict[str, str]] = {
    "connect_timeout": "5",
    "application_name": "surplus",
    "client_encoding": "utf8",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""What the URL may overrule. A server that is gone without a word is noticed within 20 to 25 seconds."""

_SESSION: Final = (
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    # Money needs a commit that survives a power cut; whoever chose more than that keeps it.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)
_READER: Final = (
    "SET statement_timeout = '10min'",  # a check of the books reads every usage record there is
    "SET default_transaction_isolation = 'repeatable read'",
    "SET default_transaction_read_only = on",
)
_WRITER: Final = (
    "SET statement_timeout = '60s'",
    "SET default_transaction_isolation = 'read committed'",
    "SET default_transaction_read_only = off",
    # Writers find rows by key alone. A table that grows faster than its statistics would be read from end to end.
    "SET enable_seqscan = off",
)

_OF_THE_STORE: Final = frozenset({"42501", "42P01", "42703", "3F000"})
"""SQLSTATEs among programming errors that a server meets only when somebody else changed rights or tables."""
_SCHEMA_LOCK: Final = "schema"


class _Raw(Protocol):
    """What this needs of psycopg's connection."""

    closed: bool
    info: Any

    def fileno(self) -> int: ...


def parse(text: str) -> URL:
    """`postgresql://USER@HOST:PORT/NAME`. Raises BadSetting; its message does not repeat what may hold a password."""
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        url = None
    # An @ in the name is what is left of a password with a slash in it.
    if url is None or url.drivername not in SCHEMES or "@" in (url.database or ""):
        message = "the database's address is not postgresql://USER@HOST:PORT/NAME; correct it"
        raise BadSetting(f"{message} (characters such as @ : / in a password are written %40 %3A %2F), or give none")
    return url.set(drivername="postgresql+psycopg")


class PostgreSQL:
    """The database at `url`, which has to exist."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @property
    def name(self) -> str:
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.database or self.url.username or ''} on {self.url.host or 'this host'}{port}"

    def engine(self, *, readonly: bool) -> Engine:
        engine = create_engine(
            self.url,
            poolclass=NullPool,
            hide_parameters=True,  # they are what customers sent, and errors end up in logs
            connect_args={name: value for name, value in _CONNECT.items() if name not in self.url.query},
        )

        def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            self._check(cast("_Raw", connection))
            cursor = connection.cursor()
            cursor.execute("; ".join((*_SESSION, *(_READER if readonly else _WRITER))))
            cursor.close()
            connection.commit()

        event.listen(engine, "connect", configure)
        event.listen(engine, "handle_error", _shorten)
        return engine

    def _check(self, connection: _Raw) -> None:
        version = connection.info.server_version // 10_000
        encoding = connection.info.parameter_status("server_encoding")
        if version < OLDEST:
            message = f"the database {self.name} is PostgreSQL {version}; Surplus needs {OLDEST} or later"
            raise StoreUnavailable(f"{message}: upgrade the server", retry_after_s=None)
        if encoding != ENCODING:
            message = f"the database {self.name} has the encoding {encoding}; make one with the encoding {ENCODING}"
            raise StoreUnavailable(message)

    def idle(self, connection: Connection) -> bool:
        if connection.closed or connection.invalidated:
            return False
        raw = cast("_Raw", connection.connection.dbapi_connection)
        if raw.closed:
            return False
        # Between transactions the server says nothing, unless to take its leave.
        heard = select.poll()
        heard.register(raw.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return not heard.poll(0)

    def translate(self, error: exc.DBAPIError) -> SurplusError | None:
        state = _sqlstate(error)
        match error:
            case exc.IntegrityError():
                return None
            case exc.DataError():
                # Only the driver's own have no state: text with a NUL in it, which no value here can have.
                text = "a text has a character that cannot be stored (U+0000); leave it out"
                return BadRequest(text) if state is None else None
            case exc.ProgrammingError() if state not in _OF_THE_STORE:
                return None
            case _:
                message = f"the database {self.name} did not do what was asked ({_first_line(error)})"
                remedy = "check that it runs and lets this user in, and `surplus doctor`"
                return StoreUnavailable(f"{message}; {remedy}", retry_after_s=1)

    def survives(self, error: SurplusError) -> bool:
        # A new connection also finds the new primary after a failover, and the new plan after a change of the schema.
        return not isinstance(error, StoreUnavailable)

    def begin_migration(self, connection: Connection) -> None:
        # Another server may be at it for long; the changes themselves wait for tables no longer than writes do.
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        locks.take(connection, _SCHEMA_LOCK)
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")


def _sqlstate(error: exc.DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _first_line(error: exc.DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def _shorten(context: ExceptionContext) -> None:
    """Keep the first line of a message alone: the lines behind it quote rows, which are what customers sent."""
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    original.args = (str(original).partition("\n")[0],)
    if wrapped is not None:
        wrapped.args = (f"({type(original).__module__}.{type(original).__name__}) {original.args[0]}",)
