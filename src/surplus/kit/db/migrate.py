"""Brings a database to the newest version of its schema, or says which version it has."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from surplus.kit.db.database import Database
from surplus.kit.errors import Unavailable


class SchemaTooNew(Unavailable):
    """The database was written by a later version of this program."""

    code = "schema_too_new"
    retryable = False


def upgrade(database: Database, scripts: Path) -> bool:
    """Apply what is missing of the versions in `scripts`, in one transaction; returns whether there was anything.

    Raises SchemaTooNew if the database has a version that these scripts do not know.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts))
    directory = ScriptDirectory.from_config(config)
    newest = directory.get_current_head()
    changed = False

    def run(connection: Connection) -> None:
        nonlocal changed
        present = MigrationContext.configure(connection).get_current_revision()
        if present == newest:
            return
        known = {script.revision for script in directory.walk_revisions()}
        if present is not None and present not in known:
            message = (
                f"the database has schema {present}, which this version does not know; "
                "start the version that wrote it, or restore a backup from before the upgrade"
            )
            raise SchemaTooNew(message)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        changed = True

    database.migrate(run)
    return changed
