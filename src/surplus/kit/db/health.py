"""What can be told about a store without changing it: whether its file is whole, and which version its schema has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from surplus.kit.db.database import Database

_WHOLE: Final = ["ok"]


@dataclass(frozen=True, slots=True)
class Schema:
    """The version that a database has (None: none yet), the newest one, and whether the present one is known here."""

    present: str | None
    newest: str | None
    known: bool

    @property
    def current(self) -> bool:
        return self.present == self.newest


def faults(database: Database) -> list[str]:
    """What the store finds wrong with its own files; nothing where it cannot look. Raises StoreUnavailable."""

    def look(connection: Connection) -> list[str]:
        if connection.dialect.name != "sqlite":
            return []
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check")]
        return [] if found == _WHOLE else found

    return database.inspect(look)


def schema(database: Database, scripts: Path) -> Schema:
    """The version of the schema, against those in the folder `scripts`. Raises StoreUnavailable."""
    config = Config()
    config.set_main_option("script_location", str(scripts))
    directory = ScriptDirectory.from_config(config)
    present = database.inspect(lambda connection: MigrationContext.configure(connection).get_current_revision())
    known = present is None or present in {script.revision for script in directory.walk_revisions()}
    return Schema(present, directory.get_current_head(), known)
