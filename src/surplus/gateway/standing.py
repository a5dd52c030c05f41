"""What is known of the books, and what follows for whoever wants to buy. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from surplus.gateway.errors import BooksUnchecked, LedgerViolation
from surplus.kit.errors import Unavailable
from surplus.ledger.model import Verification

RESTORE: Final = "stop the server, keep a copy of the data directory, and restore the last sound backup"
REBUILD: Final = (
    "its log is sound, so nothing is lost: stop the server, run `surplus ledger rebuild --data DIR`, start it again"
)


class Watching(Protocol):
    """Knows how the books stand: it checks them itself, or is told."""

    standing: "Standing"

    def closed(self) -> Unavailable | None:
        """Why nothing is sold now; None while it is."""
        ...


class Soundness(StrEnum):
    """Whether the books are sound; UNKNOWN until the first check has ended."""

    UNKNOWN = "unknown"
    SOUND = "sound"
    UNSOUND = "unsound"


@dataclass(frozen=True, slots=True)
class Standing:
    """The outcome of the last check, or of the one that found something wrong: nothing undoes that but a restart.

    `checked_at` (epoch seconds) is when it ended; `remedy` is empty while nothing is wrong.
    """

    state: Soundness = Soundness.UNKNOWN
    seq: int = 0
    hash: str = ""
    checked_at: float | None = None
    problems: Sequence[str] = ()
    remedy: str = ""

    def after(self, found: Verification, at: float) -> "Standing":
        """What is known after one more check."""
        if self.state is Soundness.UNSOUND:
            return self
        state = Soundness.SOUND if found.ok else Soundness.UNSOUND
        return Standing(state, found.head_seq, found.head_hash, at, found.problems, remedy(found))

    def refusal(self) -> Unavailable | None:
        """What a customer is told who wants to buy now; None: welcome."""
        match self.state:
            case Soundness.SOUND:
                return None
            case Soundness.UNKNOWN:
                message = "this server has just started and is checking its books; try again in a moment"
                return BooksUnchecked(message, retry_after_s=2)
            case Soundness.UNSOUND:
                message = (
                    "this server has found an error in its books and sells nothing until its operator has mended it"
                )
                return LedgerViolation(message)

    def not_ready(self) -> str | None:
        """Why the server should not get requests, without saying whose money is concerned."""
        match self.state:
            case Soundness.SOUND:
                return None
            case Soundness.UNKNOWN:
                return f"the ledger is being checked before anything is sold (entry {self.seq:,} so far)"
            case Soundness.UNSOUND:
                return f"the ledger is not sound, so nothing is sold: {self.remedy}"


def remedy(found: Verification) -> str:
    """What an operator has to do about it."""
    if found.ok:
        return ""
    return REBUILD if found.log_ok else RESTORE
