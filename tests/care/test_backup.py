"""A backup is of one instant, whole, and checked; a restore of it is a server's data directory."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from surplus import bootstrap
from surplus.care import BackupDamaged, CareError, Manifest, back_up, restore
from surplus.gateway import store as gateway
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.ledger import service as ledger
from surplus.ledger.model import HoldState
from surplus.metering import service as metering
from surplus.metering.model import Outcome, UsageRecord
from surplus.settings import Settings
from tests.care.conftest import GATEWAY, Shop, tamper


@pytest.fixture
def backup(tmp_path: Path, shop: Shop) -> Path:
    """A backup that was made while the journal and the database were open."""
    back_up(shop.data, tmp_path / "backup", with_key=True, clock=shop.clock)
    return tmp_path / "backup"


async def _start(data: Path) -> None:
    """What a start does to the books; nothing is served."""
    server = await bootstrap.build(Settings(), data, bootstrap.open_store(data), {})
    await bootstrap.close(server)


def _records(data: Path, org: str) -> dict[str, UsageRecord]:
    database = Database(data / bootstrap.DATABASE)
    try:
        verdict = database.read_now(ledger.verify)
        assert verdict.ok, verdict.problems
        assert database.read_now(ledger.active_holds) == []
        found = database.read_now(metering.records, org=org)
        for record in found:
            hold = database.read_now(ledger.hold, record.id)
            assert (hold.state, hold.posted) == (HoldState.POSTED, record.charged_micro)
    finally:
        database.close()
    assert len({one.id for one in found}) == len(found)
    return {one.id: one for one in found}


def test_a_backup_says_what_it_is_of(tmp_path: Path, shop: Shop) -> None:
    manifest = back_up(shop.data, tmp_path / "backup", with_key=False, clock=shop.clock)
    found = shop.database.read_now(ledger.head)
    progress = shop.database.read_now(gateway.progress, GATEWAY)
    assert (manifest.head.seq, manifest.head.hash) == (found.last_seq, found.hash)
    span = manifest.journals["journal"]
    assert (span.loaded, span.end) == (progress.position, shop.journal.end)
    assert (manifest.counts.to_load, manifest.counts.in_flight, manifest.counts.organizations) == (2, 1, 2)
    assert manifest.taken_at == "2026-11-21T09:00:00Z"
    names = {"surplus.db", "surplus.toml", "journal/slots"}
    assert names < set(manifest.files)
    assert "operator.key" not in manifest.files
    files = [file for file in (tmp_path / "backup").rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert json.loads((tmp_path / "backup" / "manifest.json").read_text())["head"]["seq"] == found.last_seq


def test_a_restored_server_charges_each_request_once(tmp_path: Path, shop: Shop, backup: Path) -> None:
    restored = tmp_path / "restored"
    done = restore(backup, restored, clock=shop.clock)
    assert (done.upgraded, done.has_key) == (False, True)
    assert (restored / "operator.key").read_text() == (shop.data / "operator.key").read_text()
    records = _records(restored, shop.org.id)
    outcomes = {name: record.outcome for name, record in sorted(records.items())}
    completed = dict.fromkeys(("req_1", "req_2", "req_3", "req_4"), Outcome.COMPLETED)
    assert outcomes == {**completed, "req_5": Outcome.INTERRUPTED}
    assert records["req_5"].usage.output == 7  # what its slot said
    assert records["req_3"].charged_micro == 80
    asyncio.run(_start(restored))
    assert _records(restored, shop.org.id) == records


def test_a_backup_that_is_restored_a_month_later_charges_the_same(tmp_path: Path, shop: Shop, backup: Path) -> None:
    """The holds of the requests that were not loaded yet have expired long ago by then."""
    shop.clock.advance(30 * 86_400)
    restore(backup, tmp_path / "restored", clock=shop.clock)
    assert _records(tmp_path / "restored", shop.org.id)["req_4"].charged_micro == 80


def test_the_chain_goes_on_where_the_backup_ended(tmp_path: Path, shop: Shop, backup: Path) -> None:
    restored = tmp_path / "restored"
    manifest = restore(backup, restored, clock=shop.clock).manifest
    asyncio.run(_start(restored))
    database = Database(restored / bootstrap.DATABASE)
    head = database.read_now(ledger.head)
    database.close()
    assert head.last_seq > manifest.head.seq
    assert head.hash != manifest.head.hash


def test_what_comes_after_the_instant_is_not_in_it(tmp_path: Path, shop: Shop, backup: Path) -> None:
    shop.settle("req_6")
    shop.load()
    restored = tmp_path / "restored"
    restore(backup, restored, clock=shop.clock)
    asyncio.run(_start(restored))
    assert "req_6" not in _records(restored, shop.org.id)


def test_segments_that_the_server_discards_meanwhile_are_still_copied(tmp_path: Path, shop: Shop) -> None:
    """The loader goes on between the snapshot and the copy of the journal: the clock is what is asked in between."""
    for number in range(40):
        shop.settle(f"req_a{number}")
    before = sorted(file.name for file in (shop.data / "journal").glob("*.journal"))
    assert len(before) > 2

    class Loading(ManualClock):
        def now(self) -> float:
            shop.load()
            return super().now()

    manifest = back_up(shop.data, tmp_path / "backup", with_key=False, clock=Loading(shop.clock.now()))
    assert len(list((shop.data / "journal").glob("*.journal"))) == 1
    assert (manifest.counts.to_load, manifest.counts.in_flight) == (0, 0)
    restore(tmp_path / "backup", tmp_path / "restored", clock=shop.clock)
    asyncio.run(_start(tmp_path / "restored"))
    assert len(_records(tmp_path / "restored", shop.org.id)) == 44


def test_requests_between_the_two_looks_are_left_out_whole(tmp_path: Path, shop: Shop) -> None:
    """Their holds may be in the snapshot; they are given back at the start, and nothing is charged without a record."""

    class Busy(ManualClock):
        def now(self) -> float:
            shop.settle("req_between")
            return super().now()

    back_up(shop.data, tmp_path / "backup", with_key=False, clock=Busy(shop.clock.now()))
    restore(tmp_path / "backup", tmp_path / "restored", clock=shop.clock)
    asyncio.run(_start(tmp_path / "restored"))
    assert "req_between" not in _records(tmp_path / "restored", shop.org.id)


def test_a_backup_of_an_idle_server_without_a_journal_yet(tmp_path: Path) -> None:
    bootstrap.open_store(tmp_path / "data").close()
    manifest = back_up(tmp_path / "data", tmp_path / "backup", with_key=False, clock=ManualClock())
    assert (manifest.head.seq, manifest.journals) == (0, {})
    restore(tmp_path / "backup", tmp_path / "restored", clock=ManualClock())
    asyncio.run(_start(tmp_path / "restored"))


def test_what_cannot_be_backed_up_leaves_nothing_behind(tmp_path: Path, shop: Shop) -> None:
    with pytest.raises(CareError, match="no server's data directory"):
        back_up(tmp_path / "elsewhere", tmp_path / "backup", with_key=False, clock=shop.clock)
    with pytest.raises(CareError, match="inside the data directory"):
        back_up(shop.data, shop.data / "backup", with_key=False, clock=shop.clock)
    (shop.data / "operator.key").unlink()
    with pytest.raises(CareError, match="leave --with-operator-key out"):
        back_up(shop.data, tmp_path / "backup", with_key=True, clock=shop.clock)
    (tmp_path / "there").mkdir()
    with pytest.raises(CareError, match="exists"):
        back_up(shop.data, tmp_path / "there", with_key=False, clock=shop.clock)
    tamper(shop.data, "UPDATE ledger_account SET credits = credits + 1 WHERE id = 'revenue:tokens'")
    with pytest.raises(BackupDamaged, match="not sound"):
        back_up(shop.data, tmp_path / "backup", with_key=False, clock=shop.clock)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "there"]


def _files(backup: Path) -> list[str]:
    return sorted(str(file.relative_to(backup)) for file in backup.rglob("*") if file.is_file())


def test_one_wrong_byte_anywhere_is_refused(tmp_path: Path, shop: Shop, backup: Path) -> None:
    tried = 0
    for name in _files(backup):
        whole = (backup / name).read_bytes()
        for place in sorted({0, len(whole) // 3, len(whole) // 2, len(whole) - 1} & set(range(len(whole)))):
            (backup / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(BackupDamaged):
                restore(backup, tmp_path / "restored", clock=shop.clock)
            tried += 1
        (backup / name).write_bytes(whole[:-1])
        with pytest.raises(BackupDamaged):
            restore(backup, tmp_path / "restored", clock=shop.clock)
        (backup / name).unlink()
        with pytest.raises(BackupDamaged):
            restore(backup, tmp_path / "restored", clock=shop.clock)
        (backup / name).write_bytes(whole)
    assert tried > 20
    assert not (tmp_path / "restored").exists()
    restore(backup, tmp_path / "restored", clock=shop.clock)


def test_nothing_is_restored_over_anything(tmp_path: Path, shop: Shop, backup: Path) -> None:
    for target in (shop.data, backup):
        before = _files(target)
        with pytest.raises(CareError, match="not empty"):
            restore(backup, target, clock=shop.clock)
        assert _files(target) == before
    (tmp_path / "empty").mkdir()
    restore(backup, tmp_path / "empty", clock=shop.clock)
    assert (tmp_path / "empty" / "surplus.db").exists()


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path, shop: Shop, backup: Path) -> None:
    from surplus.care import manifest as manifests

    made: Manifest = manifests.read(backup)
    shutil.copy(backup / "surplus.toml", tmp_path / "other.toml")
    made.files["../other.toml"] = made.files["surplus.toml"]
    (backup / manifests.MANIFEST).unlink()
    (backup / manifests.SEAL).unlink()
    manifests.write(backup, made)
    with pytest.raises(BackupDamaged, match="files that no backup has"):
        restore(backup, tmp_path / "restored", clock=shop.clock)


def test_database_and_journal_of_two_moments_are_refused(tmp_path: Path, shop: Shop, backup: Path) -> None:
    """Every byte is what was written, but the two do not belong together."""
    from surplus.care import manifest as manifests

    made: Manifest = manifests.read(backup)
    for name in [name for name in made.files if name.endswith(".journal")]:
        (backup / name).unlink()
        del made.files[name]
    (backup / manifests.MANIFEST).unlink()
    (backup / manifests.SEAL).unlink()
    manifests.write(backup, made)
    with pytest.raises(BackupDamaged, match="journal"):
        restore(backup, tmp_path / "restored", clock=shop.clock)
