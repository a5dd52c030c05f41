"""What can go wrong with a journal or with slots.

The ones with status 503 can reach a caller of the server, so their messages name no path.
"""

from surplus.kit.errors import Conflict, SurplusError, TooLarge, Unavailable


class JournalLocked(Conflict):
    """Another open journal, in this or another process, has the directory or the slot file."""

    code = "journal_locked"


class JournalCorrupt(SurplusError):
    """Bytes on disk, or a position handed in, are not what the journal wrote or gave out."""

    code = "journal_corrupt"


class JournalDiscarded(SurplusError):
    """The position lies before the first record that is still kept."""

    code = "journal_discarded"


class RecordTooLarge(TooLarge):
    """A payload is over `max_record_bytes`."""

    code = "record_too_large"


class JournalFull(Unavailable):
    """The disk has no room for a record. The journal stays usable: space may come back."""

    code = "journal_full"


class JournalUnavailable(Unavailable):
    """The journal is closed, or its disk failed: it takes no more records until it is opened again."""

    code = "journal_unavailable"


class SlotsFull(Unavailable):
    """Every slot is taken."""

    code = "slots_full"


class SlotsCorrupt(SurplusError):
    """A slot file was not written by this version of the server, or is damaged."""

    code = "slots_corrupt"
