"""A database that was migrated is the database that the code describes."""

import importlib
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from surplus import migrations
from surplus.kit.db import Database, metadata
from surplus.kit.db.migrate import upgrade
from tests.tidy.source import SRC


def test_migrations_make_the_tables_that_the_code_declares(tmp_path: Path) -> None:
    for tables in [*SRC.rglob("tables.py"), *(SRC / "kit").glob("*.py")]:
        importlib.import_module("surplus." + ".".join(tables.relative_to(SRC).with_suffix("").parts))
    database = Database(tmp_path / "surplus.db")
    assert upgrade(database, Path(migrations.__path__[0]))
    found = database.inspect(
        lambda connection: compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True}),
            metadata,
        )
    )
    database.close()
    assert len(metadata.tables) > 10
    assert not found


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "surplus.db")
    assert upgrade(database, Path(migrations.__path__[0]))
    assert not upgrade(database, Path(migrations.__path__[0]))
    database.close()
