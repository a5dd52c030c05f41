"""The other process of the journal's tests: `python journal_child.py WHAT DIRECTORY`."""

import itertools
import os
import resource
import sys
from pathlib import Path

from surplus.kit.journal import Journal, JournalFull, JournalLocked, Slots

UPDATES_PER_RECORD = 20
RECORDS_PER_REQUEST = 50
SEGMENT_BYTES = 4096
SPREAD = 0x9E3779B97F4A7C15


def payload(number: int) -> bytes:
    return b"%08d" % number * (1 + number % 20)


def counters(number: int) -> dict[str, int]:
    """Six values that tell which update they are from, with nearly all bytes different from one update to the next."""
    names = ("uncached", "cache_read", "cache_write", "output", "delivered_bytes", "delivered_events")
    return {name: (number * SPREAD + index) % 2**64 for index, name in enumerate(names)}


def work_until_killed(directory: Path) -> None:
    """Append, update, report; each report is the number of a record that is finished with all its updates."""
    journal = Journal.open(directory, segment_bytes=SEGMENT_BYTES)
    slots = Slots.open(directory / "slots", 4)
    slot = slots.claim("request-0")
    number = 0
    while True:
        if number and number % RECORDS_PER_REQUEST == 0:
            slot.release()
            slot = slots.claim(f"request-{number // RECORDS_PER_REQUEST}")
        journal.append(payload(number))
        for step in range(UPDATES_PER_RECORD):
            slot.update(**counters(number * UPDATES_PER_RECORD + step))
        os.write(1, number.to_bytes(8, "little"))
        number += 1


def update_until_killed(directory: Path) -> None:
    """Update one slot without a pause, for a new request every so often."""
    slots = Slots.open(directory / "slots", 1)
    os.write(1, b"!")
    for request in itertools.count():
        slot = slots.claim(f"{request}-{request}")
        for step in range(UPDATES_PER_RECORD):
            slot.update(**counters(request * UPDATES_PER_RECORD + step))
        slot.release()


def try_to_open(directory: Path) -> None:
    for opening in (lambda: Journal.open(directory), lambda: Slots.open(directory / "slots", 4)):
        try:
            opening()
        except JournalLocked as error:
            sys.stdout.write(f"{error.code} {error.status} {error.message}\n")


def refused_with(journal: Journal, payload: bytes) -> int | None:
    """The status of the refusal, or None when the record was taken."""
    try:
        journal.append(payload)
    except JournalFull as error:
        return error.status
    return None


def fill_the_disk(directory: Path) -> None:
    """Append against a limit on the size of files, which the kernel enforces like a full disk: short, then refused."""
    journal = Journal.open(directory)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    assert [refused_with(journal, b"f" * 100) for _ in range(9)] == [None] * 9
    for _ in range(3):  # cut short at byte 1000
        assert refused_with(journal, b"f" * 100) == 503
        assert (directory / f"{0:020d}.journal").stat().st_size == journal.end == 972
    assert len(journal.read(0)) == 9
    assert refused_with(journal, b"s" * 20) is None  # ends at byte 1000
    assert refused_with(journal, b"") == 503  # no room at all
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert refused_with(journal, b"room again") is None
    journal.close()
    sys.stdout.write("done")


def run_out_of_descriptors(directory: Path) -> None:
    journal = Journal.open(directory, segment_bytes=100)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for _ in range(10):
        journal.append(b"x" * 42)
    journal.sync()
    following = directory / f"{journal.end:020d}.journal"
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    journal.append(b"y" * 42)
    assert following.exists()
    journal.close()
    sys.stdout.write("done")


def find_no_room_for_slots(directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        Slots.open(directory / "slots", 1000)
    except JournalFull as error:
        sys.stdout.write(error.message)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
