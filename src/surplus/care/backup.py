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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from surplus import __version__, bootstrap
from surplus.care import books
from surplus.care import manifest as manifests
from surplus.care.errors import CareError
from surplus.care.inspection import check_schema, inspect
from surplus.care.manifest import Manifest
from surplus.gateway import store as gateway
from surplus.kit.clock import Clock, iso
from surplus.kit.db import Database, ReadSession, health
from surplus.kit.db.copying import copy
from surplus.kit.journal import JournalDiscarded, Pinned, pinned

SLOTS: Final = f"{bootstrap.JOURNAL}/slots"
NAME: Final = f"{bootstrap.JOURNAL}/{bootstrap.GATEWAY}"
LOCK: Final = f"{bootstrap.JOURNAL}/lock"
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was noted on the database's snapshot."""

    progress: gateway.Progress
    end: int


def back_up(data: Path, destination: Path, *, with_key: bool, clock: Clock) -> Manifest:
    """Write the books of `data` to the new folder `destination`, and check what was written.

    `with_key` copies the operator's key too. Raises CareError, BackupDamaged (the books themselves are not sound),
    StoreUnavailable, and errors of the journal; `destination` does not exist then.
    """
    if books.store_url(data):
        message = (
            f"the books of {data} are in a database server, and a backup here copies files; stop every server on it"
        )
        raise CareError(f"{message}, dump the database with its own tools, and copy the data directories")
    if destination.exists():
        raise CareError(f"{destination} exists; give the name of a new folder")
    if destination.resolve().is_relative_to(data.resolve()):
        raise CareError(f"{destination} is inside the data directory; a backup belongs elsewhere, on another disk")
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as made:
        folder = Path(made) / "backup"
        manifest = _write(data, folder, with_key=with_key, clock=clock)
        folder.rename(destination)
    manifests.sync(destination.parent)
    return manifest


def _write(data: Path, folder: Path, *, with_key: bool, clock: Clock) -> Manifest:
    database = books.opened(data)
    try:
        check_schema(database)
        taken_at = _copy_books(database, data, folder, clock)
    finally:
        database.close()
    for name in (bootstrap.SETTINGS_FILE, *([bootstrap.OPERATOR_KEY] if with_key else [])):
        if (data / name).exists():
            manifests.copy_private(data / name, folder / name)
        elif name == bootstrap.OPERATOR_KEY:
            raise CareError(f"there is no {data / name} to copy; leave --with-operator-key out")
    return _seal(data, folder, taken_at)


def _copy_books(database: Database, data: Path, folder: Path, clock: Clock) -> float:
    """Database, journal and slots; returns the instant (epoch seconds) that they are of."""
    for left in reversed(range(_TRIES)):
        folder.mkdir(mode=0o700)
        slots = data / SLOTS
        in_flight = slots.read_bytes() if slots.exists() else None
        try:
            with pinned(data / bootstrap.JOURNAL) as journal:
                written, name = journal.look(), bootstrap.known_gateway(data / bootstrap.JOURNAL)
                taken_at = clock.now()
                seen = copy(database, folder / bootstrap.DATABASE, partial(_look, journal, name, written))
                journal.copy(folder / bootstrap.JOURNAL, start=seen.progress.open_from, end=seen.end)
        except JournalDiscarded:  # a segment came and went between two looks at the folder
            if not left:
                raise
            shutil.rmtree(folder)
            continue
        if in_flight is not None:
            manifests.write_private(folder / SLOTS, in_flight)
        if (data / NAME).exists():
            manifests.copy_private(data / NAME, folder / NAME)
        return taken_at
    raise AssertionError("the last try returns or raises")


def _check_others(database: Database, data: Path) -> None:
    """The journals of a server's other workers are not copied, so the database has to have all that is in them."""
    for number in bootstrap.journals(data):
        directory = bootstrap.journal_directory(data, number)
        if number > 1 and any(directory.glob("*.journal")):
            with pinned(directory) as journal:
                loaded = database.read_now(gateway.progress, bootstrap.known_gateway(directory)).position
                if loaded < journal.look():
                    message = f"{directory} has what the copy of the database has not: workers are at work"
                    raise CareError(f"{message}. Stop the server, or make a snapshot of the file system")


def _look(journal: Pinned, name: str, written: int, session: ReadSession) -> _Seen:
    progress = gateway.progress(session, name)
    if progress.position > written:
        journal.look()  # loaded since; what was loaded is in the journal
    return _Seen(progress, max(written, progress.position))


def _seal(data: Path, folder: Path, taken_at: float) -> Manifest:
    """Check the copy as a restore would, and write down what it is."""
    database = Database(folder / bootstrap.DATABASE)
    try:
        _check_others(database, data)
        found = inspect(database, folder / bootstrap.JOURNAL, now=taken_at)
        schema = health.schema(database, bootstrap.MIGRATIONS).present
    finally:
        database.close()
    (folder / LOCK).unlink()
    stored = {
        str(file.relative_to(folder)): manifests.checksum(file) for file in sorted(folder.rglob("*")) if file.is_file()
    }
    manifest = Manifest(
        format=manifests.FORMAT,
        version=__version__,
        db_schema=str(schema),
        taken_at=iso(taken_at),
        head=found.head,
        journal=found.journal,
        counts=found.counts,
        files=stored,
    )
    for name in stored:
        manifests.sync(folder / name)
    manifests.write(folder, manifest)
    return manifest
