"""`surplus ledger rebuild`: balances and holds are made again from the log."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from surplus import bootstrap
from surplus.care.errors import CareError
from surplus.care.inspection import open_books
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


def rebuild(data: Path, *, store_url: str | None = None) -> Rebuilt:
    """Replay the log of the stopped server on `data`, in one transaction: all or nothing.

    `store_url` is the server's `--database`. Raises JournalLocked while a server runs on `data`, CareError, and
    LedgerBroken if the log itself is unsound.
    """
    if not data.is_dir():
        raise CareError(f"there is no {data}; check --data")
    with ExitStack() as stack:
        for number in bootstrap.journals(data):  # a worker may outlive its server for a moment
            stack.enter_context(exclusive(bootstrap.journal_directory(data, number)))
        stack.enter_context(exclusive(data))
        database = open_books(data, store_url)
        stack.callback(database.close)
        before = _verify(database)
        if before.ok:
            return Rebuilt(before, None)
        database.write_now(ledger.rebuild)
        (data / bootstrap.CHECKED).unlink(missing_ok=True)  # the next start looks at everything
        return Rebuilt(before, _verify(database))


def _verify(database: Database) -> Verification:
    found, _ = Verifier(database.read_now, beside=[agreement.hours_agree, agreement.records_agree]).run()
    return found
