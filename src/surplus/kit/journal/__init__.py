"""An append-only local journal, and slots for what is in flight: how work survives the end of the process."""

from surplus.kit.journal.copying import Pinned, pinned
from surplus.kit.journal.errors import (
    JournalCorrupt,
    JournalDiscarded,
    JournalFull,
    JournalLocked,
    JournalUnavailable,
    RecordTooLarge,
    SlotsCorrupt,
    SlotsFull,
)
from surplus.kit.journal.files import exclusive
from surplus.kit.journal.inspection import Inspection, inspect
from surplus.kit.journal.reading import Record
from surplus.kit.journal.segments import Journal
from surplus.kit.journal.slots import Slot, Slots, SlotState

__all__ = [
    "Inspection",
    "Journal",
    "JournalCorrupt",
    "JournalDiscarded",
    "JournalFull",
    "JournalLocked",
    "JournalUnavailable",
    "Pinned",
    "Record",
    "RecordTooLarge",
    "Slot",
    "SlotState",
    "Slots",
    "SlotsCorrupt",
    "SlotsFull",
    "exclusive",
    "inspect",
    "pinned",
]
