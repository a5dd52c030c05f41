"""`surplus restore`: a backup becomes a data directory that a server can start on."""

import asyncio
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from surplus import bootstrap
from surplus.care import manifest as manifests
from surplus.care.backup import DUMP, SLOTS
from surplus.care.errors import BackupDamaged, CareError
from surplus.care.inspection import check_file, check_journals, check_store, journals
from surplus.care.manifest import Manifest
from surplus.gateway.books import LocalBooks
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Loader
from surplus.kit.clock import Clock, ManualClock, parse_iso
from surplus.kit.db import Database
from surplus.kit.db.copying import is_empty, load
from surplus.kit.db.migrate import upgrade
from surplus.kit.ids import RandomIds
from surplus.kit.journal import Journal, Slots

STAGING: Final = ".restoring"
_JOURNAL: Final = re.compile(rf"{bootstrap.JOURNAL}(-[0-9]+)?/([0-9]{{20}}\.journal|{SLOTS}|{bootstrap.GATEWAY})")
_PLAIN: Final = frozenset({bootstrap.DATABASE, bootstrap.SETTINGS_FILE, DUMP, bootstrap.OPERATOR_KEY})


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put where. `upgraded`: the schema was an earlier version's, and was brought to this one's."""

    data: Path
    manifest: Manifest
    upgraded: bool
    has_key: bool


def restore(backup: Path, data: Path, *, store_url: str | None = None, clock: Clock) -> Restored:
    """Check every byte of `backup`, then the books in it, and put it into `data`, which has to be new or empty.

    A backup of a database server goes into the empty database at `store_url`. Raises BackupDamaged, CareError and
    StoreUnavailable; `data` is then as it was.
    """
    manifest = manifests.read(backup)
    unknown = [name for name in manifest.files if name not in _PLAIN and not _JOURNAL.fullmatch(name)]
    if unknown:
        raise BackupDamaged(f"{backup} names files that no backup has: {', '.join(unknown)}")
    manifests.check(backup, manifest)
    if (DUMP in manifest.files) != (store_url is not None):
        wanted = "give an empty one with --database" if store_url is None else "leave --database out"
        kind = "of a database on a server" if store_url is None else "of a database in a file"
        raise CareError(f"{backup} is {kind}: {wanted}")
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise CareError(f"{data} is not empty; restore into a new directory, and move it into place afterwards")
    made = not data.exists()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = data / STAGING
    try:
        upgraded = _stage(backup, staging, manifest, store_url, clock)
    except BaseException:  # an interrupted restore too leaves nothing that looks like a data directory
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            data.rmdir()
        raise
    for file in sorted(staging.iterdir(), key=lambda one: one.name == bootstrap.DATABASE):  # without it nothing starts
        file.rename(data / file.name)
    staging.rmdir()
    manifests.sync(data)
    return Restored(data, manifest, upgraded, bootstrap.OPERATOR_KEY in manifest.files)


def _stage(backup: Path, staging: Path, manifest: Manifest, store_url: str | None, clock: Clock) -> bool:
    for folder in (staging, *(staging / name for name in manifest.journals)):
        folder.mkdir(mode=0o700, exist_ok=True)
    for name in manifest.files:
        manifests.copy_private(backup / name, staging / name)
    manifests.check(staging, manifest)
    database = _filled(staging, store_url)
    try:
        upgraded = upgrade(database, bootstrap.MIGRATIONS)
        check_file(database)
        kept = journals(staging)
        store = check_store(database.read_now, kept, now=clock.now())
        found = check_journals(staging, store)
        if (store.head, found.spans, found.counts) != (manifest.head, manifest.journals, manifest.counts):
            raise BackupDamaged(f"the books in {backup} are not those that its {manifests.MANIFEST} describes")
        asyncio.run(_settle(database, kept, ManualClock(parse_iso(manifest.taken_at))))
        store = check_store(database.read_now, kept, now=clock.now())
    finally:
        database.close()
    manifests.write_private(staging / bootstrap.CHECKED, store.checkpoint)
    return upgraded


async def _settle(database: Database, kept: Mapping[str, Path], clock: Clock) -> None:
    """What a start after a crash does, at the instant of the backup: weeks later the holds would have expired."""
    for name, folder in kept.items():
        journal, slots = Journal.open(folder), Slots.open(folder / SLOTS, 1)
        try:
            books = LocalBooks(database, clock)
            funds = EscrowFunds(books, clock, RandomIds(clock), name)
            loader = Loader(
                gateway=name, database=database, books=books, funds=funds, journal=journal, clock=clock, gather_s=0.0
            )
            await loader.recover(slots)
        finally:
            slots.close()
            journal.close()


def _filled(staging: Path, store_url: str | None) -> Database:
    if store_url is None:
        return Database(staging / bootstrap.DATABASE)
    database = Database(store_url)
    try:
        if not is_empty(database):
            raise CareError(f"the database {database.name} is not empty; make a new one for the restored books")
        load(database, staging / DUMP)
    except BaseException:
        database.close()
        raise
    (staging / DUMP).unlink()
    return database
