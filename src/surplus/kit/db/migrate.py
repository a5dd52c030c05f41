"""Brings a database to the newest version of its schema, and decides whether a server can work with the one it has.

Versions only add, wherever they can: tables, columns that may be empty, indexes. Each says in `compatible_from` which
is the oldest version whose server works with the schema after it, and the database keeps the latest of these. A server
that meets a schema from its future goes by that, so that going back by a version of the program needs no backup.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, String, Table, inspect, select

from surplus.kit.db.database import Database
from surplus.kit.db.schema import Big, metadata
from surplus.kit.errors import Unavailable

schemas: Final = Table(
    "kit_schema",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("compatible_from", String(40), nullable=False),
)
_ONLY: Final = 1
"""The id of its one row."""


class SchemaTooNew(Unavailable):
    """The database was written by a later version of this program."""

    code = "schema_too_new"
    retryable = False


@dataclass(frozen=True, slots=True)
class Scripts:
    """The versions in a folder: each with its place in their order, and the oldest one that it is compatible with."""

    config: Config
    newest: str
    places: dict[str, int]
    compatible_from: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The folder's versions. A version that does not say what it is compatible with is so with itself alone."""
        config = Config()
        config.set_main_option("script_location", str(folder))
        oldest_first = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
        names = [script.revision for script in oldest_first]
        stated = {one.revision: str(getattr(one.module, "compatible_from", one.revision)) for one in oldest_first}
        return cls(config, names[-1], {name: place for place, name in enumerate(names)}, stated)

    def knows(self, version: str | None) -> bool:
        """Whether it is among these; None is a database without a schema."""
        return version is None or version in self.places

    def oldest_compatible(self, stored: str | None, applied_after: str | None) -> str:
        """What a database at the newest version is compatible with: the latest of what it said and these say."""
        begin = -1 if applied_after is None else self.places[applied_after]
        stated = [self.compatible_from[name] for name, place in self.places.items() if place > begin]
        return max([*stated, *([stored] if stored is not None else [])], key=self.places.__getitem__)


def present(connection: Connection) -> str | None:
    """The version of the schema; None if there is none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def compatible_from(connection: Connection) -> str | None:
    """The oldest version that works with the schema, as the database itself says; None if it does not."""
    if not inspect(connection).has_table(schemas.name):
        return None
    return connection.execute(select(schemas.c.compatible_from)).scalar()


def upgrade(database: Database, folder: Path) -> bool:
    """Apply what is missing of the versions in `folder`, in one transaction; returns whether there was anything.

    Of several servers that start at one time one does it and the others wait. A schema from a later version is left as
    it is. Raises SchemaTooNew if that one is not compatible with the versions here.
    """
    scripts = Scripts.read(folder)
    changed = False

    def run(connection: Connection) -> None:
        nonlocal changed
        before, stored = present(connection), compatible_from(connection)
        if before == scripts.newest:
            return
        if not scripts.knows(before):
            if stored is not None and scripts.knows(stored):
                return
            message = (
                f"the database has schema {before}, which this version cannot work with; "
                "start the version that wrote it, or restore a backup from before the upgrade"
            )
            raise SchemaTooNew(message)
        scripts.config.attributes["connection"] = connection
        command.upgrade(scripts.config, "head")
        connection.execute(schemas.delete())
        oldest = scripts.oldest_compatible(stored, before)
        connection.execute(schemas.insert(), {"id": _ONLY, "compatible_from": oldest})
        changed = True

    database.migrate(run)
    return changed
