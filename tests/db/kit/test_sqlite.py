"""What a store in a SQLite file promises beyond what every store does."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from surplus.kit.db import Database, ReadSession, StoreUnavailable, WriteSession
from tests.db.kit.test_database import count, own, put, things
from tests.stores import SQLiteStores, opened


@pytest.fixture
def database(sqlite: SQLiteStores) -> Iterator[Database]:
    with opened(sqlite) as database:
        database.migrate(own.create_all)
        yield database


def test_a_commit_survives_a_power_cut_and_readers_do_not_block_it(database: Database) -> None:
    def pragmas(session: ReadSession) -> tuple[str, int, int]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return tuple(session._connection.execute(text(f"PRAGMA {name}")).scalar() for name in names)

    assert database.read_now(pragmas) == ("wal", 2, 1)
    assert database.write_now(pragmas) == ("wal", 2, 1)


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "50%25.db", "a#b.db", "ü.db"])
def test_a_path_is_taken_literally(tmp_path: Path, name: str) -> None:
    database = Database(tmp_path / name)
    database.migrate(own.create_all)
    database.write_now(put, 1)
    database.close()
    assert name in {path.name for path in tmp_path.iterdir()}


def test_a_store_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        Database(tmp_path)
    with pytest.raises(StoreUnavailable):
        Database(tmp_path / "missing" / "surplus.db")
    (tmp_path / "notes.db").write_text("these are my notes\n" * 100)
    with pytest.raises(StoreUnavailable, match=r"notes\.db"):
        Database(tmp_path / "notes.db")


def test_a_full_disk_is_told_and_undone_and_the_store_recovers(database: Database) -> None:
    def limit(session: WriteSession, pages: int) -> None:
        session._connection.execute(text(f"PRAGMA max_page_count={pages}"))

    def fill(session: WriteSession) -> None:
        session.execute(insert(things), [{"id": n, "label": f"{n:040d}"} for n in range(10_000)])

    database.write_now(limit, 1)  # never below what is used already
    with pytest.raises(StoreUnavailable, match="full") as caught:
        database.write_now(fill)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "store_unavailable", 1)
    assert database.read_now(count) == 0
    database.write_now(limit, 1_000_000)
    database.write_now(fill)
    assert database.read_now(count) == 10_000


def test_a_damaged_store_is_unavailable(database: Database) -> None:
    database.write_now(lambda s: s.execute(insert(things), [{"id": n, "label": f"{n:040d}"} for n in range(5_000)]))
    database.close()
    size = database.location.stat().st_size
    with database.location.open("r+b") as file:
        file.seek(4096)  # the first page still says that this is a database
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreUnavailable, match="malformed"), closing(Database(database.location)) as damaged:
        damaged.read_now(lambda s: s.all(select(things)))
