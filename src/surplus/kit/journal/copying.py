"""Copies a journal while a server writes it.

A segment that is open here can be read even after the server has discarded it, so segments are opened first, then
whatever has to agree with them is copied, and only then are they.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

from surplus.kit.journal import files, frames, recovery
from surplus.kit.journal.errors import JournalCorrupt, JournalDiscarded

_TRIES: Final = 20


class Pinned:
    """The segments of a journal, kept from going away. Takes no lock and changes nothing."""

    def __init__(self, directory: Path) -> None:
        """Use `pinned`."""
        self._directory = directory
        self._open: dict[int, int] = {}

    def look(self) -> int:
        """Open what has come since the last look; returns the position after the last whole record.

        Raises JournalCorrupt where a segment is missing or too short.
        """
        for left in reversed(range(_TRIES)):
            try:
                starts = recovery.find_segments(self._directory) if self._directory.exists() else []
                for start in starts:
                    if start not in self._open:
                        self._open[start] = os.open(recovery.segment_path(self._directory, start), os.O_RDONLY)
            except (FileNotFoundError, JournalCorrupt):
                if not left:
                    raise
                continue  # the server has made or discarded a segment while they were listed
            if not starts:
                return 0
            return starts[-1] + frames.valid_bytes(self._read(starts[-1]), starts[-1])
        raise AssertionError("the last try returns or raises")

    def copy(self, destination: Path, *, start: int, end: int) -> None:
        """Write the segments with the records of `[start, end)` into the new folder `destination`, cut at `end`.

        Both are boundaries of records. Raises JournalDiscarded if they are not all there, JournalCorrupt for damage.
        """
        destination.mkdir(mode=0o700)
        kept = sorted(one for one in self._open if one <= end)
        spans = [(one, min(following, end)) for one, following in pairwise([*kept, end])]
        wanted = [(one, stop) for one, stop in spans if stop > start] or spans[-1:]
        if (wanted[0][0] if wanted else 0) > start or (end and not wanted):
            raise JournalDiscarded(f"the journal from {start} on has gone while it was copied; try again")
        for one, stop in wanted:
            data = self._read(one)[: stop - one]
            if frames.valid_bytes(data, one) != stop - one:
                raise JournalCorrupt(
                    f"{recovery.segment_path(self._directory, one)} is damaged or incomplete before journal position"
                    f" {stop}, so it cannot be backed up; `surplus doctor` says more"
                )
            _write(recovery.segment_path(destination, one), data)
        files.sync_path(destination)

    def _read(self, start: int) -> bytes:
        with os.fdopen(self._open[start], "rb", closefd=False) as file:
            file.seek(0)
            return file.read()

    def close(self) -> None:
        """Let them go."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


@contextmanager
def pinned(directory: Path) -> Generator[Pinned]:
    """Keep what the journal in `directory` has now; a directory that is not there is an empty journal."""
    held = Pinned(directory)
    try:
        yield held
    finally:
        held.close()


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
