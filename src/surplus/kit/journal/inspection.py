"""Looking at a journal without a lock and without changing anything: a server may be running on it."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from surplus.kit.journal import frames, recovery
from surplus.kit.journal.errors import JournalCorrupt

_MAX_RECORD_BYTES: Final = 1024 * 1024
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Inspection:
    """The positions that a journal keeps, `[start, end)`, and the bytes of an unfinished record behind them."""

    start: int
    end: int
    unfinished_bytes: int


def inspect(directory: Path) -> Inspection:
    """Read every record that the journal in `directory` keeps.

    Raises JournalCorrupt for damage that opening the journal would refuse, or that reading it would meet later; OSError
    where the files cannot be read.
    """
    for _ in range(_TRIES):
        listed = _names(directory)
        try:
            return _inspect(directory)
        except (FileNotFoundError, JournalCorrupt):
            if _names(directory) == listed:
                raise
            # A running server has made or discarded a segment while they were listed and read: look again.
    return _inspect(directory)


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.journal")}


def _inspect(directory: Path) -> Inspection:
    starts = recovery.find_segments(directory)
    if not starts:
        return Inspection(0, 0, 0)
    for start, following in pairwise(starts):
        path = recovery.segment_path(directory, start)
        good = frames.valid_bytes(path.read_bytes(), start)
        if start + good < following:
            raise JournalCorrupt(
                f"{path} is damaged at byte {good} (journal position {start + good}). Restore the file from a copy; the"
                " server stops at the damage when it has to read there, and says how to go on without the rest."
            )
    last = starts[-1]
    good, torn = recovery.whole_bytes(recovery.segment_path(directory, last), last, _MAX_RECORD_BYTES)
    return Inspection(starts[0], last + good, torn)
