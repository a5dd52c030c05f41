"""The journal: records in append-only segment files, on disk when `sync` has returned."""

import errno
import os
import threading
from bisect import bisect_right
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn, Self

from surplus.kit.journal import files, frames, recovery
from surplus.kit.journal.errors import (
    JournalCorrupt,
    JournalDiscarded,
    JournalFull,
    JournalUnavailable,
    RecordTooLarge,
)
from surplus.kit.journal.reading import Record, read_records

_MIB = 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Journal:
    """An append-only journal in one directory, owned by one process.

    `append`, `read`, `discard` and `close` belong to one thread (the event loop's); `sync` may run on another.
    """

    def __init__(
        self,
        directory: Path,
        starts: list[int],
        end: int,
        descriptors: tuple[int, int, int],
        *,
        limits: tuple[int, int],
        truncated_bytes: int,
    ) -> None:
        """Use `open`. `descriptors` are lock, directory and last segment; `limits` are segment and record bytes."""
        self.truncated_bytes = truncated_bytes
        self._directory = directory
        self._starts = starts
        self._end = end
        self._durable = end
        self._lock_file, self._directory_file, self._file = descriptors
        self._segment_bytes, self._max_record_bytes = limits
        self._segment_limit = starts[-1] + self._segment_bytes
        self._refusal: str | None = None
        self._rotated: list[int] = []
        self._directory_dirty = False
        # _state guards what `sync` takes over from the appending thread and is never held during a system call that
        # waits for the disk; _syncing keeps two syncs apart.
        self._state = threading.Lock()
        self._syncing = threading.Lock()

    @classmethod
    def open(cls, directory: Path, *, segment_bytes: int = 64 * _MIB, max_record_bytes: int = _MIB) -> Self:
        """Open the journal in `directory`, creating it (0700) if need be; everything found is on disk afterwards.

        Sizes are in bytes. What a killed writer left unfinished at the very end is cut off and counted in
        `truncated_bytes`. The earlier segments are checked for gaps now and record by record when they are read.
        Raises JournalLocked (another server has the directory) and JournalCorrupt (gap, or damage before the end).
        """
        files.make_directory(directory)
        with ExitStack() as undo:
            lock_file = files.open_locked(directory / files.LOCK)
            undo.callback(os.close, lock_file)
            directory_file = os.open(directory, os.O_RDONLY)
            undo.callback(os.close, directory_file)
            starts = recovery.find_segments(directory) or [0]
            last = _open_segment(directory, starts[-1])
            undo.callback(os.close, last)
            end, torn = recovery.repair_tail(recovery.segment_path(directory, starts[-1]), starts[-1], max_record_bytes)
            for start in starts:
                files.sync_path(recovery.segment_path(directory, start))
            os.fsync(directory_file)
            undo.pop_all()
        limits = (segment_bytes, max_record_bytes)
        return cls(directory, starts, end, (lock_file, directory_file, last), limits=limits, truncated_bytes=torn)

    @property
    def start(self) -> int:
        """The first position still kept."""
        return self._starts[0]

    @property
    def end(self) -> int:
        """The position after the last record."""
        return self._end

    @property
    def durable(self) -> int:
        """The position up to which everything is known to be on disk."""
        return self._durable

    def append(self, payload: bytes) -> int:
        """Write one record and return the position after it. It now survives the process; `sync` makes it durable.

        Raises RecordTooLarge, JournalFull (nothing was written; the journal stays usable) and JournalUnavailable
        (closed, or the disk failed).
        """
        if self._refusal is not None:
            raise JournalUnavailable(self._refusal)
        if len(payload) > self._max_record_bytes:
            raise RecordTooLarge(
                f"a record of {len(payload)} bytes is over the journal's limit of {self._max_record_bytes}: raise"
                " max_record_bytes or write less into one record"
            )
        frame = frames.encode(payload, self._end)
        end = self._end + len(frame)
        if end > self._segment_limit:
            self._rotate()
        try:
            written = os.write(self._file, frame)
        except OSError as error:
            self._roll_back(error)
        else:
            if written != len(frame):
                self._roll_back(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        self._end = end
        return end

    def read(self, position: int, *, max_records: int = 1000, until: int | None = None) -> list[Record]:
        """The records from `position` on, at most `max_records`; fewer do not mean the end, none does.

        `position` is `start`, `end` or the `end` of a record. `until` leaves out records that end after it: who moves
        records elsewhere for good passes `durable`, or a power cut could take back what was already moved.
        Raises JournalDiscarded (before `start`) and JournalCorrupt (damage, or no boundary of a record).
        """
        limit = self._end if until is None else min(until, self._end)
        if position < self.start:
            raise JournalDiscarded(
                f"journal position {position} is gone: {self._directory} begins at {self.start}. Records are discarded"
                " only when they are no longer needed, so the reader lost its place or the directory is another one."
            )
        if position > self._end:
            raise JournalCorrupt(
                f"journal position {position} is past the end ({self._end}) of {self._directory}: the directory was"
                " replaced or lost its last records. Restore it, or reset the reader's position to"
                f" {self._end} to go on without them."
            )
        if position >= limit:
            return []
        index = bisect_right(self._starts, position) - 1
        start = self._starts[index]
        stop = self._starts[index + 1] if index + 1 < len(self._starts) else self._end
        path = recovery.segment_path(self._directory, start)
        return read_records(path, (start, stop), position, max_records=max_records, until=limit)

    def sync(self) -> int:
        """Force everything appended before this call to disk and return the durable position.

        Appends go on meanwhile. After a failed fsync the kernel may have dropped the data, so that a second try would
        lie: the journal then refuses all work, and this and every later call raise JournalUnavailable.
        """
        with self._syncing:
            if self._refusal is not None:
                raise JournalUnavailable(self._refusal)
            with self._state:
                target, rotated, current = self._end, tuple(self._rotated), self._file
                directory_dirty, self._directory_dirty = self._directory_dirty, False
            try:
                for descriptor in (*rotated, current):
                    os.fsync(descriptor)
                if directory_dirty:
                    os.fsync(self._directory_file)
            except OSError as error:
                raise self._fail(error) from error
            with self._state:
                del self._rotated[: len(rotated)]
            for descriptor in rotated:
                os.close(descriptor)
            self._durable = target
            return target

    def discard(self, before: int) -> int:
        """Delete the segments that end at or before `before`, never the current one; returns the bytes freed."""
        freed = 0
        while len(self._starts) > 1 and self._starts[1] <= before:
            recovery.segment_path(self._directory, self._starts[0]).unlink()
            freed += self._starts[1] - self._starts[0]
            del self._starts[0]
            with self._state:
                self._directory_dirty = True
        return freed

    def close(self) -> None:
        """Sync and unlock; a second call does nothing. Unlocks even when the sync fails, and then raises that."""
        if self._lock_file < 0:
            return
        try:
            if self._refusal is None:
                self.sync()
        finally:
            with self._syncing:
                self._refusal = self._refusal or "the journal is closed: the server is stopping"
                for descriptor in (*self._rotated, self._file, self._directory_file, self._lock_file):
                    os.close(descriptor)
                self._lock_file = -1

    def _rotate(self) -> None:
        if self._end == self._starts[-1]:
            return  # a record larger than a segment gets one of its own
        try:
            following = _open_segment(self._directory, self._end, os.O_EXCL)
        except OSError:
            return  # no file to be had just now (full, or out of descriptors): a longer segment loses nothing
        with self._state:
            self._rotated.append(self._file)
            self._file = following
            self._directory_dirty = True
        self._starts.append(self._end)
        self._segment_limit = self._end + self._segment_bytes

    def _roll_back(self, cause: OSError) -> NoReturn:
        try:
            os.ftruncate(self._file, self._end - self._starts[-1])
        except OSError as error:
            raise self._fail(error) from cause
        if cause.errno in _FULL:
            raise JournalFull(
                "this server cannot record a new request because its disk is full: try again later; its operator has"
                " to free space where the journal lies",
                retry_after_s=5,
            ) from cause
        raise JournalUnavailable(f"this server could not record a request: {cause.strerror}") from cause

    def _fail(self, error: OSError) -> JournalUnavailable:
        self._refusal = (
            f"this server records no more requests because its journal's disk failed ({error.strerror}): its operator"
            " has to check the disk and start the server again"
        )
        return JournalUnavailable(self._refusal)


def _open_segment(directory: Path, start: int, extra_flags: int = 0) -> int:
    path = recovery.segment_path(directory, start)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | extra_flags, 0o600)
