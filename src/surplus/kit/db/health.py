"""What can be told about a store without changing it: whether it is whole, how large, which schema it has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection

from surplus.kit.db import migrate
from surplus.kit.db.database import Database

_WHOLE: Final = ["ok"]
_RISKS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
}
"""Settings of a PostgreSQL server under which a power cut can take back or damage what was committed."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The version that a database has (None: none yet), the newest one here, and whether a server here can use it.

    `known`: the versions here lead to it. `usable`: they do, or it says itself that it is compatible with them.
    """

    present: str | None
    newest: str
    known: bool
    usable: bool

    @property
    def current(self) -> bool:
        return self.present == self.newest


def description(database: Database) -> str:
    """Which store it is, and how large. Raises StoreUnavailable."""
    location = database.location
    if not isinstance(location, URL):
        return f"{location} ({location.stat().st_size / 2**20:.1f} MiB)"

    def look(connection: Connection) -> str:
        query = "SELECT current_setting('server_version'), pg_database_size(current_database())"
        version, size = connection.exec_driver_sql(query).one()
        return f"{database.name} (PostgreSQL {version.split()[0]}, {size / 2**20:.1f} MiB)"

    return database.inspect(look)


def faults(database: Database) -> list[str]:
    """What the store finds wrong with its own files; nothing where it cannot look. Raises StoreUnavailable."""

    def look(connection: Connection) -> list[str]:
        if connection.dialect.name != "sqlite":
            return []
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check")]
        return [] if found == _WHOLE else found

    return database.inspect(look)


def risks(database: Database) -> list[str]:
    """Settings of the store's server under which it can lose what it confirmed. Raises StoreUnavailable."""

    def look(connection: Connection) -> list[str]:
        if connection.dialect.name != "postgresql":
            return []
        found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in _RISKS}
        return [f"{name} is {value}" for name, value in found.items() if value == _RISKS[name]]

    return database.inspect(look)


def clock(database: Database) -> float | None:
    """The instant (epoch seconds) by the clock of the store's server; None where the store has none of its own."""

    def look(connection: Connection) -> float | None:
        if connection.dialect.name != "postgresql":
            return None
        return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())

    return database.inspect(look)


def schema(database: Database, folder: Path) -> Schema:
    """The version of the schema, against those in `folder`. Raises StoreUnavailable."""
    scripts = migrate.Scripts.read(folder)
    present, stored = database.inspect(lambda one: (migrate.present(one), migrate.compatible_from(one)))
    known = scripts.knows(present)
    return Schema(present, scripts.newest, known, known or (stored is not None and scripts.knows(stored)))
