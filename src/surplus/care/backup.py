"""`surplus backup`: the books as of one instant, while a server runs on them.

The journal says more than the database, and the database must never say more than the journal. What makes the pair one:

1. The slots of requests in flight are read, then the journal is pinned and its end C is noted, then the database's
   snapshot begins. Every hold was committed before its request was written to the journal, so the snapshot has the hold
   of every request up to C.
2. The snapshot says up to where it has the journal, P, and from where on it needs it. The copy of the journal ends at
   the later of C and P, so it covers what the database has and leads to nothing that the database cannot charge.

A server that starts on the copy finds what a server finds after `kill -9` at that instant.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from surplus import __version__, bootstrap
from surplus.care import manifest as manifests
from surplus.care.errors import CareError
from surplus.care.inspection import SoundStore, check_file, check_journal, check_store, counts, open_books
from surplus.care.manifest import Manifest
from surplus.gateway import store as gateway
from surplus.kit.clock import Clock, iso
from surplus.kit.db import Database, ReadSession, health
from surplus.kit.db.copying import copy, is_file
from surplus.kit.journal import JournalDiscarded, Pinned, pinned

T = TypeVar("T")

DUMP: Final = "surplus.dump"
SLOTS: Final = f"{bootstrap.JOURNAL}/slots"
NAME: Final = f"{bootstrap.JOURNAL}/{bootstrap.GATEWAY}"
LOCK: Final = f"{bootstrap.JOURNAL}/lock"
_TRIES: Final = 3


def back_up(
    data: Path, destination: Path, *, with_key: bool = False, store_url: str | None = None, clock: Clock
) -> Manifest:
    """Write the books of `data` to the new folder `destination`, and check what was written.

    `with_key` copies the operator's key too; `store_url` is the server's `--database`. Raises CareError, BackupDamaged
    (the books themselves are not sound), StoreUnavailable, and errors of the journal; there is no `destination` then.
    """
    if destination.exists():
        raise CareError(f"{destination} exists; give the name of a new folder")
    if destination.resolve().is_relative_to(data.resolve()):
        raise CareError(f"{destination} is inside the data directory; a backup belongs elsewhere, on another disk")
    database = open_books(data, store_url)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as made:
            folder = Path(made) / "backup"
            manifest = _Backup(database, data, folder, clock).take(with_key=with_key)
            folder.rename(destination)
    finally:
        database.close()
    manifests.sync(destination.parent)
    return manifest


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was noted on the database's snapshot; `sound` where the copy itself cannot be opened and looked at."""

    progress: gateway.Progress
    end: int
    sound: SoundStore | None


class _Backup:
    def __init__(self, database: Database, data: Path, folder: Path, clock: Clock) -> None:
        self._database = database
        self._data = data
        self._folder = folder
        self._clock = clock
        self._name = bootstrap.known_gateway(data / bootstrap.JOURNAL)
        self._file = bootstrap.DATABASE if is_file(database) else DUMP
        self._taken_at = 0.0

    def take(self, *, with_key: bool) -> Manifest:
        seen = self._copy_books()
        for name in (bootstrap.SETTINGS_FILE, *([bootstrap.OPERATOR_KEY] if with_key else [])):
            if (self._data / name).exists():
                manifests.copy_private(self._data / name, self._folder / name)
            elif name == bootstrap.OPERATOR_KEY:
                raise CareError(f"there is no {self._data / name} to copy; leave --with-operator-key out")
        return self._seal(seen)

    def _copy_books(self) -> _Seen:
        """Database, journal and slots."""
        for left in reversed(range(_TRIES)):
            self._folder.mkdir(mode=0o700)
            slots = self._data / SLOTS
            in_flight = slots.read_bytes() if slots.exists() else None
            try:
                with pinned(self._data / bootstrap.JOURNAL) as journal:
                    seen = self._copy_pair(journal)
            except JournalDiscarded:  # a segment came and went between two looks at the folder
                if not left:
                    raise
                shutil.rmtree(self._folder)
                continue
            if in_flight is not None:
                manifests.write_private(self._folder / SLOTS, in_flight)
            if (self._data / NAME).exists():
                manifests.copy_private(self._data / NAME, self._folder / NAME)
            return seen
        raise AssertionError("the last try returns or raises")

    def _copy_pair(self, journal: Pinned) -> _Seen:
        written = journal.look()
        self._taken_at = self._clock.now()

        def look(session: ReadSession) -> _Seen:
            progress = gateway.progress(session, self._name)
            if progress.position > written:
                journal.look()  # loaded since; what was loaded is in the journal
            end = max(written, progress.position)
            if is_file(self._database):
                return _Seen(progress, end, None)

            def read(function: Callable[..., T], *args: Any) -> T:
                return function(session, *args)

            return _Seen(progress, end, check_store(read, self._name, now=self._taken_at))

        seen = copy(self._database, self._folder / self._file, look)
        journal.copy(self._folder / bootstrap.JOURNAL, start=seen.progress.open_from, end=seen.end)
        return seen

    def _seal(self, seen: _Seen) -> Manifest:
        """Check the copy as a restore would, and write down what it is."""
        store = seen.sound or self._check_copy()
        journal = check_journal(self._folder / bootstrap.JOURNAL, store.progress)
        (self._folder / LOCK).unlink()
        files = [file for file in sorted(self._folder.rglob("*")) if file.is_file()]
        for file in files:
            manifests.sync(file)
        manifest = Manifest(
            format=manifests.FORMAT,
            version=__version__,
            db_schema=str(health.schema(self._database, bootstrap.MIGRATIONS).present),
            taken_at=iso(self._taken_at),
            head=store.head,
            journal=journal.span,
            counts=counts(store, journal),
            other_gateways=store.others,
            files={str(file.relative_to(self._folder)): manifests.checksum(file) for file in files},
        )
        manifests.write(self._folder, manifest)
        return manifest

    def _check_copy(self) -> SoundStore:
        copied = Database(self._folder / self._file)
        try:
            check_file(copied)
            return check_store(copied.read_now, self._name, now=self._taken_at)
        finally:
            copied.close()
