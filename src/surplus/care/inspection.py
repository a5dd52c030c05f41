"""Looks at a set of books as a whole: the database, the journal, and whether the two belong together."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from surplus import bootstrap
from surplus.care.errors import BackupDamaged, CareError
from surplus.care.manifest import Counts, Head, JournalSpan
from surplus.gateway import agreement
from surplus.gateway import store as gateway
from surplus.gateway.entries import Admitted, decode
from surplus.identity import service as identity
from surplus.kit.db import Database, ReadSession, health
from surplus.kit.journal import Journal, files
from surplus.ledger.verification import Reader, Verifier

_RECORDS: Final = 1000
_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class SoundStore:
    """What a database says, all of which agrees; with a checkpoint of its ledger that a server can go on from."""

    head: Head
    entries: int
    batches: int
    organizations: int
    progress: dict[str, gateway.Progress]
    others: tuple[str, ...]
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class SoundJournals:
    """Which parts of the journals there are, by their folders, and how much is in the books altogether."""

    spans: dict[str, JournalSpan]
    counts: Counts


def open_books(data: Path, url: str | None) -> Database:
    """The database of a server's data directory, of a schema that this version works with. Raises CareError."""
    settings = bootstrap.load_settings(data, None, url)
    if not settings.store.url and not (data / bootstrap.DATABASE).exists():
        raise CareError(f"{data} has no {bootstrap.DATABASE}, so it is no server's data directory; check --data")
    database = Database(settings.store.url or data / bootstrap.DATABASE)
    found = health.schema(database, bootstrap.MIGRATIONS)
    if not found.current and (found.known or not found.usable):
        database.close()
        raise CareError(
            f"the database has schema {found.present or 'none'}, and this version of the program works with "
            f"{found.newest}; use the version that the server runs with"
        )
    return database


def check_store(read: Reader, names: Iterable[str], *, now: float) -> SoundStore:
    """Read all of a database; `names` are the gateways' whose journals come with it. Raises BackupDamaged."""
    found, checkpoint = Verifier(read, beside=[agreement.hours_agree, agreement.records_agree]).run(full_at=now)
    if checkpoint is None:
        problems = "; ".join(found.problems[:_TOLD])
        raise BackupDamaged(f"the books are not sound: {problems}; `surplus doctor` says more")
    progress = {name: read(gateway.progress, name) for name in names}
    others = tuple(one.name for one in read(gateway.processes) if one.name not in progress)
    head = Head(found.head_seq, found.head_hash)
    return SoundStore(head, found.entries, found.batches, read(_organizations), progress, others, checkpoint)


def check_file(database: Database) -> None:
    """Raise BackupDamaged where the store finds something wrong with its own file."""
    faults = health.faults(database)
    if faults:
        raise BackupDamaged(f"the database is damaged: {'; '.join(faults[:_TOLD])}")


def journals(data: Path) -> dict[str, Path]:
    """The folders of the journals in a data directory or a backup, by the name of their gateway."""
    folders = [bootstrap.journal_directory(data, number) for number in bootstrap.journals(data)]
    return {bootstrap.known_gateway(folder): folder for folder in folders}


def check_journals(data: Path, store: SoundStore) -> SoundJournals:
    """Read all journals, which the database has up to `store.progress`. Raises BackupDamaged."""
    spans: dict[str, JournalSpan] = {}
    to_load = in_flight = 0
    for name, folder in journals(data).items():
        spans[folder.name], loads, flies = _check_journal(folder, store.progress[name])
        to_load, in_flight = to_load + loads, in_flight + flies
    return SoundJournals(spans, Counts(store.organizations, store.entries, store.batches, to_load, in_flight))


def _check_journal(directory: Path, progress: gateway.Progress) -> tuple[JournalSpan, int, int]:
    journal = Journal.open(directory)
    try:
        start, end = journal.start, journal.end
        if not start <= progress.open_from <= progress.position <= end:
            raise BackupDamaged(
                f"{directory.name} has {start} to {end}, but the database has loaded it up to {progress.position} and "
                f"needs it from {progress.open_from} on: they are not from the same moment"
            )
        return JournalSpan(start, progress.position, end), *_unsettled(journal, progress)
    finally:
        journal.close()
        (directory / files.LOCK).unlink()


def _organizations(session: ReadSession) -> int:
    return len(identity.list_organizations(session))


def _unsettled(journal: Journal, progress: gateway.Progress) -> tuple[int, int]:
    """How many settled requests the database does not have yet, and how many requests have not been settled."""
    position, to_load, admitted = progress.open_from, 0, set[str]()
    while records := journal.read(position, max_records=_RECORDS):
        for record in records:
            position = record.end
            try:
                entry = decode(record.payload)
            except msgspec.DecodeError as error:
                raise BackupDamaged(f"the journal record that ends at {position} cannot be read: {error}") from error
            if isinstance(entry, Admitted):
                admitted.add(entry.request)
            else:
                admitted.discard(entry.admitted.request)
                to_load += position > progress.position
    return to_load, len(admitted)
