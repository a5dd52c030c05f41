"""Reading records out of one segment file."""

import os
from dataclasses import dataclass
from pathlib import Path

from surplus.kit.journal import frames
from surplus.kit.journal.errors import JournalCorrupt

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `end` is the journal position just after it: a byte offset that rises over all segments."""

    end: int
    payload: bytes


def read_records(path: Path, span: tuple[int, int], position: int, *, max_records: int, until: int) -> list[Record]:
    """The records at `position` of the segment at `path` that fills the positions `span`, up to a block of bytes.

    Returns at least one, unless the first ends after `until` or `max_records` is 0. Raises JournalCorrupt when no valid
    record begins at `position`; damage further on is for the next call to meet.
    """
    start, stop = span
    data = _load(path, position - start, stop - position)
    records: list[Record] = []
    offset = 0
    while len(records) < max_records and offset < len(data):
        payload = frames.decode(data, offset, position + offset)
        if payload is None and not offset:
            raise JournalCorrupt(
                f"{path} has no valid record at byte {position - start} (journal position {position}): the file is"
                " damaged, or the position is not the end of a record of this journal. Restore the file from a copy;"
                f" or, to give up what it still holds, set the reader's position to {stop}."
            )
        if payload is None or position + offset + frames.HEADER_BYTES + len(payload) > until:
            break
        offset += frames.HEADER_BYTES + len(payload)
        records.append(Record(position + offset, payload))
    return records


def _load(path: Path, offset: int, available: int) -> bytes:
    """A block of the file, or more where the first frame in it needs more, never past `available` bytes."""
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), min(available, _BLOCK_BYTES), offset)
        if len(data) < available and len(data) < (need := frames.frame_bytes(data, 0)) <= available:
            data = os.pread(file.fileno(), need, offset)
    return data
