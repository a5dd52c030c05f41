"""`surplus backup`: the books as of one instant, while a server runs on them.

The journal says more than the database, and the database must never say more than the journal. What makes the pair one:

1. The slots of requests in flight are read, then the journal is pinned and its end C is noted (of several workers, each
   journal), then the database's snapshot begins. Every hold was committed before its request was written to the
   journal, so the snapshot has the hold of every request up to C.
2. The snapshot says up to where it has the journal, P, and from where on it needs it. The copy of the journal ends at
   the later of C and P, so it covers what the database has and leads to nothing that the database cannot charge.

A server that starts on the copy finds what a server finds after `kill -9` at that instant.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from surplus import __version__, bootstrap
from surplus.care import manifest as manifests
from surplus.care.errors import CareError
from surplus.care.inspection import SoundStore, check_file, check_journals, check_store, journals, open_books
from surplus.care.manifest import Manifest
from surplus.gateway import store as gateway
from surplus.kit.clock import Clock, iso
from surplus.kit.db import Database, ReadSession, health
from surplus.kit.db.copying import copy, is_file
from surplus.kit.journal import JournalDiscarded, Pinned, pinned

T = TypeVar("T")

DUMP: Final = "surplus.dump"
SLOTS: Final = "slots"
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
    """What was noted on the database's snapshot: how far it has each journal, and where the copy of each has to end.

    `sound` is there where the copy of the database cannot be opened and looked at.
    """

    progress: dict[str, gateway.Progress]
    ends: dict[str, int]
    sound: SoundStore | None


class _Backup:
    def __init__(self, database: Database, data: Path, folder: Path, clock: Clock) -> None:
        self._database = database
        self._data = data
        self._folder = folder
        self._clock = clock
        self._journals: dict[str, Path] = {}
        self._file = bootstrap.DATABASE if is_file(database) else DUMP
        self._taken_at = 0.0
        self._sound: SoundStore | None = None

    def take(self, *, with_key: bool) -> Manifest:
        self._copy_books()
        for name in (bootstrap.SETTINGS_FILE, *([bootstrap.OPERATOR_KEY] if with_key else [])):
            if (self._data / name).exists():
                manifests.copy_private(self._data / name, self._folder / name)
            elif name == bootstrap.OPERATOR_KEY:
                raise CareError(f"there is no {self._data / name} to copy; leave --with-operator-key out")
        return self._seal()

    def _copy_books(self) -> None:
        """Database, journals and slots."""
        for left in reversed(range(_TRIES)):
            self._folder.mkdir(mode=0o700)
            self._journals = journals(self._data)
            in_flight = {folder: _bytes(folder / SLOTS) for folder in self._journals.values()}
            try:
                with ExitStack() as stack:
                    held = {name: stack.enter_context(pinned(folder)) for name, folder in self._journals.items()}
                    self._copy_together(held)
            except JournalDiscarded:  # what is copied came or went between two looks at it
                if not left:
                    raise
                shutil.rmtree(self._folder)
                continue
            for folder, slots in in_flight.items():
                for name, content in ((SLOTS, slots), (bootstrap.GATEWAY, _bytes(folder / bootstrap.GATEWAY))):
                    if content is not None:
                        manifests.write_private(self._folder / folder.name / name, content)
            return

    def _copy_together(self, held: Mapping[str, Pinned]) -> None:
        written = {name: journal.look() for name, journal in held.items()}
        self._taken_at = self._clock.now()

        def look(session: ReadSession) -> _Seen:
            progress = {name: gateway.progress(session, name) for name in held}
            for name, journal in held.items():
                if progress[name].position > written[name]:
                    journal.look()  # loaded since; what was loaded is in the journal
            if journals(self._data).keys() != held.keys():
                raise JournalDiscarded("a worker has come while the journals were copied; try again")
            ends = {name: max(end, progress[name].position) for name, end in written.items()}
            if is_file(self._database):
                return _Seen(progress, ends, None)

            def read(function: Callable[..., T], *args: Any) -> T:
                return function(session, *args)

            return _Seen(progress, ends, check_store(read, held, now=self._taken_at))

        seen = copy(self._database, self._folder / self._file, look)
        for name, journal in held.items():
            place = self._folder / self._journals[name].name
            journal.copy(place, start=seen.progress[name].open_from, end=seen.ends[name])
        self._sound = seen.sound

    def _seal(self) -> Manifest:
        """Check the copy as a restore would, and write down what it is."""
        store = self._sound or self._check_copy()
        found = check_journals(self._folder, store)
        files = [file for file in sorted(self._folder.rglob("*")) if file.is_file()]
        for file in files:
            manifests.sync(file)
        manifest = Manifest(
            format=manifests.FORMAT,
            version=__version__,
            db_schema=str(health.schema(self._database, bootstrap.MIGRATIONS).present),
            taken_at=iso(self._taken_at),
            head=store.head,
            journals=found.spans,
            counts=found.counts,
            other_gateways=store.others,
            files={str(file.relative_to(self._folder)): manifests.checksum(file) for file in files},
        )
        manifests.write(self._folder, manifest)
        return manifest

    def _check_copy(self) -> SoundStore:
        copied = Database(self._folder / self._file)
        try:
            check_file(copied)
            return check_store(copied.read_now, self._journals, now=self._taken_at)
        finally:
            copied.close()


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None
