"""Slots: what each request in flight has used so far, readable by the next process after this one was killed.

One memory-mapped file of fixed-size slots. What is written survives the end of the process at any instruction (the
pages are the kernel's), not a power cut: after one, the file may be older than the journal beside it.

A slot holds its counters twice and one byte that says which copy counts. A change writes the other copy and then that
byte, so that a kill in the middle leaves the counters of the change before, never a mixture.
"""

import errno
import mmap
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Self

from surplus.kit.journal import files
from surplus.kit.journal.errors import JournalFull, SlotsCorrupt, SlotsFull

MAX_REQUEST_ID_BYTES = 40

_MAGIC = b"SPLSLOT1"
_SLOT_BYTES = 256  # divides a sector, so that no slot lies across two
_BLANK = bytes(_SLOT_BYTES)
_COUNTERS = Struct("<6Q")
# Offsets in a slot. Its first byte is the length of the request id, 0 for a free slot: one byte claims and frees.
_CURRENT = 1
_REQUEST_ID = 8
_COPIES = (64, 128)


@dataclass(frozen=True, slots=True)
class SlotState:
    """The last counters of a request: tokens of the four classes, and what was sent to the caller."""

    request_id: str
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    delivered_bytes: int
    delivered_events: int


class Slot:
    """One request's slot. All values are totals since its start, 0 to 2^64 - 1. After `release` it takes no updates."""

    __slots__ = ("_base", "_copy", "_map", "_on_release", "_usage")

    def __init__(self, mapping: mmap.mmap, base: int, on_release: Callable[[int], None]) -> None:
        """Use `Slots.claim`."""
        self._map = mapping
        self._base = base
        self._on_release: Callable[[int], None] | None = on_release
        self._copy = 0
        self._usage = (0, 0, 0, 0)

    def update(
        self,
        *,
        uncached: int,
        cache_read: int,
        cache_write: int,
        output: int,
        delivered_bytes: int,
        delivered_events: int,
    ) -> None:
        """Replace all counters at once. Raises ValueError after `release`."""
        self._usage = (uncached, cache_read, cache_write, output)
        self.delivered(delivered_bytes, delivered_events)

    def delivered(self, total_bytes: int, total_events: int) -> None:
        """Replace the two delivery counters and keep the rest. Raises ValueError after `release`."""
        if self._on_release is None:
            raise ValueError("this slot was released: it may be another request's by now")
        copy = 1 - self._copy
        _COUNTERS.pack_into(self._map, self._base + _COPIES[copy], *self._usage, total_bytes, total_events)
        self._map[self._base + _CURRENT] = copy
        self._copy = copy

    def release(self) -> None:
        """Free the slot; a second call does nothing."""
        if self._on_release is not None:
            self._on_release(self._base)
            self._on_release = None


class Slots:
    """A fixed number of slots in one file, owned by one process and used from one thread (the event loop's)."""

    def __init__(self, descriptor: int, mapping: mmap.mmap, count: int) -> None:
        """Use `open`. `count` slots may be claimed; the mapped file may hold more."""
        self.count = count
        self._descriptor = descriptor
        self._map = mapping
        bases = range(_size(0), len(mapping), _SLOT_BYTES)
        self._survivors = {base: _state(mapping, base) for base in bases if mapping[base]}
        self._claimable = range(_size(0), _size(count), _SLOT_BYTES)
        self._free = [base for base in reversed(self._claimable) if base not in self._survivors]

    @classmethod
    def open(cls, path: Path, count: int) -> Self:
        """Open the slot file at `path`, creating it (0600) if need be, with `count` slots to claim.

        A file with fewer slots grows. One with more keeps its size, so that no survivor is lost, and the slots above
        `count` are not handed out. Raises JournalLocked (another server has the file), SlotsCorrupt, and JournalFull
        when the disk has no room: the space is set aside now, because running out later would kill the process.
        """
        with ExitStack() as undo:
            descriptor = files.open_locked(path)
            undo.callback(os.close, descriptor)
            present = _slots_in_file(descriptor, path)
            if present < count:
                _grow(descriptor, path, count)
            mapping = mmap.mmap(descriptor, _size(max(present, count)))
            undo.callback(mapping.close)  # it has a descriptor of its own, which would keep the lock
            slots = cls(descriptor, mapping, count)
            undo.pop_all()
        return slots

    @property
    def in_use(self) -> int:
        """How many of `count` cannot be claimed now: claimed ones, and survivors until `clear`."""
        return self.count - len(self._free)

    def survivors(self) -> list[SlotState]:
        """What an earlier process had in flight when it ended; empty after `clear`."""
        return list(self._survivors.values())

    def clear(self) -> None:
        """Forget the survivors and free their slots; claimed slots are not touched."""
        survivors, self._survivors = self._survivors, {}
        for base in survivors:
            self._free_slot(base)

    def claim(self, request_id: str) -> Slot:
        """Take a slot for a request, all counters 0. Raises SlotsFull, and ValueError for an id that does not fit."""
        name = request_id.encode("ascii")
        if not 0 < len(name) <= MAX_REQUEST_ID_BYTES:
            raise ValueError(f"a request id has 1 to {MAX_REQUEST_ID_BYTES} ASCII characters, this one {len(name)}")
        if not self._free:
            raise SlotsFull(
                f"this server already has {self.count} requests in flight, as many as it was set up for: try again",
                retry_after_s=1,
            )
        base = self._free.pop()
        mapping = self._map
        mapping[base : base + _SLOT_BYTES] = _BLANK
        mapping[base + _REQUEST_ID : base + _REQUEST_ID + len(name)] = name
        mapping[base] = len(name)
        return Slot(mapping, base, self._free_slot)

    def close(self) -> None:
        """Unmap and unlock, after the last slot was released; what is still claimed survives for the next process."""
        self._map.close()
        os.close(self._descriptor)

    def _free_slot(self, base: int) -> None:
        self._map[base] = 0
        if base in self._claimable:
            self._free.append(base)


def _size(count: int) -> int:
    """Bytes of a file of `count` slots; the header takes the room of one."""
    return (1 + count) * _SLOT_BYTES


def _slots_in_file(descriptor: int, path: Path) -> int:
    """How many slots the file holds; an empty file becomes one without slots."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        os.pwrite(descriptor, _MAGIC.ljust(_SLOT_BYTES, b"\0"), 0)
        return 0
    if os.pread(descriptor, len(_MAGIC), 0) != _MAGIC or size % _SLOT_BYTES:
        raise SlotsCorrupt(
            f"{path} is not a slot file of this version of the server. Move it away to go on without what it knows of"
            " requests that were interrupted; the journal still has every request that was settled."
        )
    return size // _SLOT_BYTES - 1


def _grow(descriptor: int, path: Path, count: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, _size(count))
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        raise JournalFull(
            f"the disk has no room for {count} slots ({_size(count)} bytes) in {path}: free some space or set fewer"
        ) from error


def _state(mapping: mmap.mmap, base: int) -> SlotState:
    length, copy = mapping[base], mapping[base + _CURRENT]
    name = mapping[base + _REQUEST_ID : base + _REQUEST_ID + length]
    if length > MAX_REQUEST_ID_BYTES or copy > 1 or not name.isascii():
        raise SlotsCorrupt(
            f"slot {base // _SLOT_BYTES} of the slot file is damaged. Move the file away to go on without what it knows"
            " of requests that were interrupted; the journal still has every request that was settled."
        )
    return SlotState(name.decode("ascii"), *_COUNTERS.unpack_from(mapping, base + _COPIES[copy]))
