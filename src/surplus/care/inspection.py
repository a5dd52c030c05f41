"""Looks at a set of books that no server has open: database, journal, and whether the two belong together."""

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
from surplus.kit.journal import Journal
from surplus.ledger.verification import Verifier

_RECORDS: Final = 1000
_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Inspected:
    """Sound books: what is in them, and a checkpoint of the ledger that a server can go on from."""

    head: Head
    journal: JournalSpan
    counts: Counts
    checkpoint: bytes


def check_schema(database: Database) -> None:
    """Raise CareError unless the database has the schema that this version of the program works with."""
    found = health.schema(database, bootstrap.MIGRATIONS)
    if not found.current:
        raise CareError(
            f"the database has schema {found.present or 'none'}, and this version of the program works with "
            f"{found.newest}; use the version that the server runs with"
        )


def inspect(database: Database, journal_directory: Path, *, now: float) -> Inspected:
    """Read all of it. Raises BackupDamaged if anything is not as it should be; creates the journal's lock file."""
    faults = health.faults(database)
    if faults:
        raise BackupDamaged(f"the database is damaged: {'; '.join(faults[:_TOLD])}")
    journal, name = Journal.open(journal_directory), bootstrap.known_gateway(journal_directory)
    try:
        beside = [agreement.hours_agree, agreement.records_agree, agreement.journal_holds(name, lambda: journal.end)]
        found, checkpoint = Verifier(database.read_now, beside=beside).run(full_at=now)
        if checkpoint is None:
            problems = "; ".join(found.problems[:_TOLD])
            raise BackupDamaged(f"the books are not sound: {problems}; `surplus doctor` says more")
        progress = database.read_now(gateway.progress, name)
        if journal.start > progress.open_from:
            raise BackupDamaged(f"the journal begins at {journal.start}, but is needed from {progress.open_from} on")
        to_load, in_flight = _unsettled(journal, progress)
        counts = Counts(database.read_now(_organizations), found.entries, found.batches, to_load, in_flight)
        span = JournalSpan(journal.start, progress.position, journal.end)
    finally:
        journal.close()
    return Inspected(Head(found.head_seq, found.head_hash), span, counts, checkpoint)


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
