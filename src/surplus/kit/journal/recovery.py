"""What a journal does with the segment files it finds: list them, check that none is missing, repair the last one."""

import os
import re
from itertools import pairwise
from pathlib import Path

from surplus.kit.journal import frames
from surplus.kit.journal.errors import JournalCorrupt

_NAME = re.compile(r"[0-9]{20}\.journal")


def segment_path(directory: Path, start: int) -> Path:
    """The file that begins at journal position `start`."""
    return directory / f"{start:020d}.journal"


def find_segments(directory: Path) -> list[int]:
    """The start positions of the segments in `directory`, ascending; other files are left alone.

    Raises JournalCorrupt when one does not begin where the one before it ends.
    """
    starts = sorted(int(path.stem) for path in directory.iterdir() if _NAME.fullmatch(path.name))
    for start, following in pairwise(starts):
        path = segment_path(directory, start)
        end = start + path.stat().st_size
        if end != following:
            raise JournalCorrupt(
                f"{path} ends at journal position {end}, but the next segment begins at {following}: bytes were lost"
                " or a file is missing. Nothing was changed. Restore the files from a copy; or, to give up every"
                f" record after position {min(end, following)}, move the later .journal files out of {directory}."
            )
    return starts


def whole_bytes(path: Path, start: int, longest: int) -> tuple[int, int]:
    """How many bytes of the last segment are whole records, and how many an interrupted write left behind them.

    Raises JournalCorrupt where a valid record follows the first broken one: an interrupted write cannot leave that.
    `longest` (bytes) bounds the records looked for.
    """
    data = path.read_bytes()
    good = frames.valid_bytes(data, start)
    torn = len(data) - good
    if torn:
        following = frames.find_valid(data, good, start, longest)
        if following is not None:
            raise JournalCorrupt(
                f"{path} is damaged at byte {good} (journal position {start + good}), and valid records follow at byte"
                f" {following}: a crash of the server does not do this, a disk or a power cut may have. Nothing was"
                " changed. Restore the file from a copy; or, to give up every record from the damage on, run:"
                f" truncate -s {good} {path}"
            )
    return good, torn


def repair_tail(path: Path, start: int, longest: int) -> tuple[int, int]:
    """Cut off what an interrupted write left at the end of the last segment; returns its end position and bytes cut.

    Raises JournalCorrupt, and changes nothing, for any other damage; `longest` as in `whole_bytes`.
    """
    good, torn = whole_bytes(path, start, longest)
    if torn:
        os.truncate(path, good)
    return start + good, torn
