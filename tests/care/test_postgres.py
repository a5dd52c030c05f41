"""Backups of books in PostgreSQL: by its own programs, on the snapshot that the journal was cut for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from surplus.care import CareError, back_up, rebuild, restore
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, StoreUnavailable
from surplus.kit.db.copying import _run
from surplus.ledger import service as ledger
from surplus.metering import service as metering
from surplus.metering.model import Outcome
from tests.care.conftest import Shop, furnished
from tests.stores import PostgresStores

pytestmark = pytest.mark.slow


def _text(place: URL | Path) -> str:
    assert isinstance(place, URL)
    return place.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def url(postgres: PostgresStores) -> Iterator[str]:
    place = postgres.empty()
    yield _text(place)
    postgres.forget(place)


@pytest.fixture
def other(postgres: PostgresStores) -> Iterator[str]:
    place = postgres.empty()
    yield _text(place)
    postgres.forget(place)


@pytest.fixture
def shop(tmp_path: Path, url: str, clock: ManualClock) -> Iterator[Shop]:
    made = furnished(tmp_path / "data", url, clock)
    yield made
    made.close()


def test_what_was_settled_is_there_once_and_nothing_later(tmp_path: Path, shop: Shop, url: str, other: str) -> None:
    class Busy(ManualClock):
        """Requests come between the look at the journal and the snapshot."""

        def now(self) -> float:
            shop.settle("req_between")
            return super().now()

    manifest = back_up(shop.data, tmp_path / "backup", store_url=url, clock=Busy(shop.clock.now()))
    assert (manifest.counts.to_load, manifest.counts.in_flight) == (2, 1)
    assert (tmp_path / "backup" / "surplus.dump").stat().st_mode & 0o777 == 0o600
    shop.settle("req_after")
    shop.load()
    with pytest.raises(CareError, match="give an empty one with --database"):
        restore(tmp_path / "backup", tmp_path / "restored", clock=shop.clock)
    with pytest.raises(CareError, match="is not empty"):
        restore(tmp_path / "backup", tmp_path / "restored", store_url=url, clock=shop.clock)
    assert not (tmp_path / "restored").exists()
    restore(tmp_path / "backup", tmp_path / "restored", store_url=other, clock=shop.clock)
    assert not (tmp_path / "restored" / "surplus.dump").exists()
    database = Database(other)
    try:
        assert database.read_now(ledger.verify).ok
        found = {one.id: one for one in database.read_now(metering.records, org=shop.org.id)}
    finally:
        database.close()
    assert set(found) == {"req_1", "req_2", "req_3", "req_4", "req_5"}
    assert found["req_4"].charged_micro == 80
    assert (found["req_5"].outcome, found["req_5"].usage.output) == (Outcome.INTERRUPTED, 7)


def test_a_file_is_not_restored_into_a_server(tmp_path: Path, other: str, clock: ManualClock) -> None:
    shop = furnished(tmp_path / "file", "", clock)
    back_up(shop.data, tmp_path / "backup", clock=clock)
    shop.close()
    with pytest.raises(CareError, match="leave --database out"):
        restore(tmp_path / "backup", tmp_path / "restored", store_url=other, clock=clock)


def test_a_rebuild(shop: Shop, url: str) -> None:
    shop.database.migrate(
        lambda connection: (
            connection.exec_driver_sql("UPDATE ledger_account SET credits = credits + 1 WHERE kind = 'wallet'") and None
        )
    )
    shop.close()
    done = rebuild(shop.data, store_url=url)
    assert done.after is not None
    assert (done.before.ok, done.after.ok) == (False, True)


def test_programs_that_are_missing_are_named(postgres: PostgresStores) -> None:
    place = postgres.empty()
    assert isinstance(place, URL)
    with pytest.raises(StoreUnavailable, match="pg_none is not on this machine; install"):
        _run("pg_none", place)
    postgres.forget(place)
