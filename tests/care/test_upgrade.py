"""The way to a later version and back, as docs/operator/upgrading.md tells it."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection

from surplus import bootstrap
from surplus.care import BackupDamaged, CareError, back_up, restore
from surplus.care import manifest as manifests
from surplus.kit.db import Database
from surplus.kit.db.migrate import SchemaTooNew, Scripts, present, upgrade
from surplus.ledger import service as ledger
from surplus.settings import Settings
from tests.care.conftest import Shop
from tests.db.kit.test_migrate import NEWEST, later


def _starts(data: Path) -> int:
    """Bring the books in order as a start does; returns the last entry of the ledger."""

    async def start() -> int:
        server = await bootstrap.build(Settings(), data, bootstrap.open_store(data), {})
        head = await server.database.read(ledger.head)
        await bootstrap.close(server)
        return head.last_seq

    return asyncio.run(start())


@pytest.fixture
def backup(tmp_path: Path, shop: Shop) -> Path:
    """Made before the upgrade; the server has stopped since."""
    back_up(shop.data, tmp_path / "backup", with_key=True, clock=shop.clock)
    shop.close()
    return tmp_path / "backup"


def _upgraded(data: Path, scripts: Path) -> None:
    database = Database(data / bootstrap.DATABASE)
    assert upgrade(database, scripts)
    database.close()


def test_back_from_a_schema_that_the_earlier_version_cannot_use(tmp_path: Path, shop: Shop, backup: Path) -> None:
    before = _head(backup)
    _upgraded(shop.data, later(tmp_path, "9998", "9998"))
    with pytest.raises(SchemaTooNew, match="restore a backup"):
        bootstrap.open_store(shop.data)
    with pytest.raises(CareError, match="use the version that the server runs with"):
        back_up(shop.data, tmp_path / "too late", clock=shop.clock)
    done = restore(backup, tmp_path / "restored", clock=shop.clock)
    assert (done.upgraded, done.manifest.head.seq) == (False, before)
    assert _starts(tmp_path / "restored") > before


def test_back_without_a_backup_where_the_schema_has_only_grown(tmp_path: Path, shop: Shop, backup: Path) -> None:
    _upgraded(shop.data, later(tmp_path, "9998", NEWEST))
    head = _starts(shop.data)
    manifest = back_up(shop.data, tmp_path / "another", clock=shop.clock)
    assert (manifest.head.seq, manifest.db_schema) == (head, "9998")
    assert not restore(tmp_path / "another", tmp_path / "restored", clock=shop.clock).upgraded
    assert _starts(tmp_path / "restored") == head


def test_a_backup_of_an_earlier_version_is_brought_to_this_one(tmp_path: Path, shop: Shop, backup: Path) -> None:
    scripts = Scripts.read(bootstrap.MIGRATIONS)
    earlier = list(scripts.places)[-2]
    database = Database(backup / bootstrap.DATABASE)

    def go_back(connection: Connection) -> None:
        scripts.config.attributes["connection"] = connection
        command.downgrade(scripts.config, earlier)

    database.migrate(go_back)
    assert database.inspect(present) == earlier
    database.close()
    with pytest.raises(BackupDamaged, match=bootstrap.DATABASE):
        restore(backup, tmp_path / "restored", clock=shop.clock)
    made = manifests.read(backup)
    made.files[bootstrap.DATABASE] = manifests.checksum(backup / bootstrap.DATABASE)
    for name in (manifests.MANIFEST, manifests.SEAL):
        (backup / name).unlink()
    manifests.write(backup, made)
    assert restore(backup, tmp_path / "restored", clock=shop.clock).upgraded
    assert _starts(tmp_path / "restored") > made.head.seq


def _head(backup: Path) -> int:
    return manifests.read(backup).head.seq
