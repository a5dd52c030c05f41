"""`surplus restore`: a backup becomes a data directory that a server can start on."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from surplus import bootstrap
from surplus.care import manifest as manifests
from surplus.care.backup import NAME, SLOTS
from surplus.care.errors import BackupDamaged, CareError
from surplus.care.inspection import Inspected, inspect
from surplus.care.manifest import Manifest
from surplus.kit.clock import Clock
from surplus.kit.db import Database
from surplus.kit.db.migrate import upgrade

STAGING: Final = ".restoring"
_SEGMENT: Final = re.compile(rf"{bootstrap.JOURNAL}/[0-9]{{20}}\.journal")
_PLAIN: Final = frozenset({bootstrap.DATABASE, bootstrap.SETTINGS_FILE, bootstrap.OPERATOR_KEY, SLOTS, NAME})


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put where. `upgraded`: the schema was an earlier version's, and was brought to this one's."""

    data: Path
    manifest: Manifest
    upgraded: bool
    has_key: bool


def restore(backup: Path, data: Path, *, clock: Clock) -> Restored:
    """Check every byte of `backup`, then the books in it, and put it into `data`, which has to be new or empty.

    Raises BackupDamaged and CareError; `data` is then as it was.
    """
    manifest = manifests.read(backup)
    unknown = [name for name in manifest.files if name not in _PLAIN and not _SEGMENT.fullmatch(name)]
    if unknown:
        raise BackupDamaged(f"{backup} names files that no backup has: {', '.join(unknown)}")
    manifests.check(backup, manifest)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise CareError(f"{data} is not empty; restore into a new directory, and move it into place afterwards")
    made = not data.exists()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = data / STAGING
    try:
        upgraded = _stage(backup, staging, manifest, clock)
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


def _stage(backup: Path, staging: Path, manifest: Manifest, clock: Clock) -> bool:
    (staging / bootstrap.JOURNAL).mkdir(mode=0o700, parents=True)
    for name in manifest.files:
        manifests.copy_private(backup / name, staging / name)
    manifests.check(staging, manifest)
    database = Database(staging / bootstrap.DATABASE)
    try:
        upgraded = upgrade(database, bootstrap.MIGRATIONS)
        found = inspect(database, staging / bootstrap.JOURNAL, now=clock.now())
    finally:
        database.close()
    _check_same(backup, manifest, found)
    manifests.write_private(staging / bootstrap.CHECKED, found.checkpoint)
    return upgraded


def _check_same(backup: Path, manifest: Manifest, found: Inspected) -> None:
    if (found.head, found.journal, found.counts) != (manifest.head, manifest.journal, manifest.counts):
        raise BackupDamaged(f"the books in {backup} are not those that its {manifests.MANIFEST} describes")
