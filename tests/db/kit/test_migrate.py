"""Schemas of other versions: older, newer, and made by two servers at one time."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import URL, inspect, text

from surplus.kit.db import Database, health
from surplus.kit.db.migrate import SchemaTooNew, Scripts, upgrade
from surplus.metering import service as metering
from tests.db.metering.records import a_record
from tests.stores import MIGRATIONS, PostgresStores, Stores

NEXT = '''"""a later version"""

import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = "{before}"
branch_labels = None
depends_on = None
compatible_from = "{compatible_from}"


def upgrade() -> None:
    op.add_column("metering_record", sa.Column("new_{name}", sa.String(20), nullable=True))
    op.create_table("later_{name}", sa.Column("id", sa.BigInteger(), primary_key=True))
'''
NEWEST = Scripts.read(MIGRATIONS).newest


def later(folder: Path, name: str, compatible_from: str, *, before: str = NEWEST, since: Path = MIGRATIONS) -> Path:
    """The versions of a program from the future."""
    scripts = folder / name
    shutil.copytree(since, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    version = NEXT.format(name=name, before=before, compatible_from=compatible_from)
    (scripts / "versions" / f"{name}_later.py").write_text(version)
    return scripts


def test_an_older_server_works_with_a_newer_schema_that_says_it_may(stores: Stores, tmp_path: Path) -> None:
    database = Database(stores.place())
    future = later(tmp_path, "9998", NEWEST)
    assert upgrade(database, future)
    assert not upgrade(database, MIGRATIONS)
    found = health.schema(database, MIGRATIONS)
    assert (found.present, found.known, found.usable, found.current) == ("9998", False, True, False)
    assert database.write_now(metering.record, [a_record("req_1")]) == 1
    assert database.read_now(metering.records, org="org_1") == [a_record("req_1")]
    assert not upgrade(database, future)  # and forward again
    database.close()


def test_an_older_server_refuses_a_newer_schema_that_does_not(stores: Stores, tmp_path: Path) -> None:
    database = Database(stores.place())
    assert upgrade(database, later(tmp_path, "9998", "9998"))
    with pytest.raises(SchemaTooNew, match="schema 9998"):
        upgrade(database, MIGRATIONS)
    assert not health.schema(database, MIGRATIONS).usable
    database.close()


def test_what_one_version_broke_no_later_one_mends(stores: Stores, tmp_path: Path) -> None:
    database = Database(stores.place())
    breaking = later(tmp_path, "9998", "9998")
    careless = later(tmp_path, "9999", NEWEST, before="9998", since=breaking)
    assert upgrade(database, breaking)
    assert upgrade(database, careless)
    with pytest.raises(SchemaTooNew):
        upgrade(database, MIGRATIONS)
    assert not upgrade(database, breaking)
    database.close()


def test_a_version_that_fails_leaves_the_schema_as_it_was(stores: Stores, tmp_path: Path) -> None:
    database = Database(stores.place())
    broken = later(tmp_path, "9998", NEWEST)
    file = broken / "versions" / "9998_later.py"
    file.write_text(file.read_text() + "    raise LookupError\n")
    with pytest.raises(LookupError):
        upgrade(database, broken)
    assert health.schema(database, MIGRATIONS).current
    assert not database.inspect(lambda connection: inspect(connection).has_table("later_9998"))
    database.close()


def test_servers_that_start_at_one_time_make_one_schema(stores: Stores) -> None:
    place = stores.empty()

    def start(_number: int) -> bool:
        database = Database(place)
        try:
            return upgrade(database, MIGRATIONS)
        finally:
            database.close()

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(start, range(4))) == [False, False, False, True]


@pytest.mark.slow
def test_a_schema_change_waits_for_nobody_for_ever(postgres: PostgresStores, tmp_path: Path) -> None:
    """A table that somebody reads for long is not taken from everybody else while the change waits for it."""
    place = postgres.place()
    assert isinstance(place, URL)
    database = Database(place)

    def limits(connection: object) -> list[str]:
        return [connection.execute(text(f"SHOW {name}")).scalar() for name in ("lock_timeout", "statement_timeout")]

    seen: list[list[str]] = []
    database.migrate(lambda connection: seen.append(limits(connection)))
    assert seen == [["10s", "0"]]
    assert database.write_now(lambda s: limits(s._connection)) == ["10s", "1min"]
    database.close()
