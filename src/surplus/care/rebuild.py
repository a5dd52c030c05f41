"""`surplus ledger rebuild`: balances and holds are made again from the log."""

from dataclasses import dataclass
from pathlib import Path

from surplus import bootstrap
from surplus.care import books
from surplus.care.inspection import check_schema
from surplus.gateway import agreement
from surplus.kit.db import Database
from surplus.kit.journal import exclusive
from surplus.ledger import service as ledger
from surplus.ledger.model import Verification
from surplus.ledger.verification import Verifier


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The ledger before and after; `after` is None where it was sound and nothing was done."""

    before: Verification
    after: Verification | None


def rebuild(data: Path) -> Rebuilt:
    """Replay the log of the stopped server on `data`, in one transaction: all or nothing.

    Raises JournalLocked while a server runs, LedgerBroken if the log itself is unsound, CareError.
    """
    database = books.opened(data)
    try:
        with exclusive(data / bootstrap.JOURNAL):
            check_schema(database)
            before = _verify(database)
            if before.ok:
                return Rebuilt(before, None)
            database.write_now(ledger.rebuild)
            (data / bootstrap.CHECKED).unlink(missing_ok=True)  # the next start looks at everything
            return Rebuilt(before, _verify(database))
    finally:
        database.close()


def _verify(database: Database) -> Verification:
    found, _ = Verifier(database.read_now, beside=[agreement.hours_agree, agreement.records_agree]).run()
    return found
