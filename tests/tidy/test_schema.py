"""A database that was migrated is the database that the code describes."""

import importlib

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from surplus.kit.db import Database, is_piece, metadata
from surplus.kit.db.migrate import Scripts, upgrade
from tests.stores import MIGRATIONS, Stores
from tests.tidy.source import SRC


def _is_declared(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not is_piece(str(name), metadata.tables.values())


def test_migrations_make_the_tables_that_the_code_declares(stores: Stores) -> None:
    for tables in [*SRC.rglob("tables.py"), *(SRC / "kit").rglob("*.py")]:
        importlib.import_module("surplus." + ".".join(tables.relative_to(SRC).with_suffix("").parts))
    compared = {"compare_type": True, "compare_server_default": True, "include_name": _is_declared}
    database = Database(stores.empty())
    assert upgrade(database, MIGRATIONS)
    found = database.inspect(
        lambda connection: compare_metadata(MigrationContext.configure(connection, opts=compared), metadata)
    )
    database.close()
    assert len(metadata.tables) > 10
    assert not found


def test_migrating_again_changes_nothing(stores: Stores) -> None:
    database = Database(stores.empty())
    assert upgrade(database, MIGRATIONS)
    assert not upgrade(database, MIGRATIONS)
    database.close()


def test_every_version_says_what_it_is_compatible_with() -> None:
    for file in (MIGRATIONS / "versions").glob("*.py"):
        assert "\ncompatible_from = " in file.read_text(), f"{file.name}: see script.py.mako"
    scripts = Scripts.read(MIGRATIONS)
    for name, place in scripts.places.items():
        assert scripts.places[scripts.compatible_from[name]] <= place
