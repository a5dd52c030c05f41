"""sync in its own thread while the event loop appends."""

import threading
import time
from pathlib import Path

from surplus.kit.journal import Journal

SEGMENT_BYTES = 64 * 1024


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_sync_says_how_far_the_disk_has_it(tmp_path):
    journal = Journal.open(tmp_path)
    first = journal.append(b"one")
    assert journal.durable == 0
    assert journal.sync() == journal.durable == first
    second = journal.append(b"two")
    assert journal.durable == first
    assert journal.sync() == second
    journal.close()


def test_what_a_reopened_journal_holds_is_durable(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    for _ in range(10):
        journal.append(b"x" * 12)
    assert journal.durable == 0
    journal.close()
    journal = Journal.open(tmp_path, segment_bytes=40)
    assert journal.durable == journal.end == 200
    journal.close()


def test_appends_go_on_while_another_thread_syncs(tmp_path):
    descriptors = open_descriptors()
    journal = Journal.open(tmp_path, segment_bytes=SEGMENT_BYTES)
    observed: list[tuple[int, int, int]] = []
    stop = threading.Event()

    def keep_syncing():
        while not stop.is_set():
            before = journal.end
            observed.append((before, journal.sync(), journal.end))

    workers = [threading.Thread(target=keep_syncing, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    payloads: list[bytes] = []
    ends: list[int] = []
    deadline = time.monotonic() + 30
    while len({durable for _, durable, _ in observed}) < 20 or journal.end < 10 * SEGMENT_BYTES:
        assert time.monotonic() < deadline, "sync stands still while records are appended"
        payloads.append(b"%08d" % len(payloads) * 20)
        ends.append(journal.append(payloads[-1]))
    stop.set()
    for worker in workers:
        worker.join()

    assert all(before <= durable <= after for before, durable, after in observed)
    assert {durable for _, durable, _ in observed} <= {0, *ends}
    assert journal.sync() == journal.durable == ends[-1]
    assert open_descriptors() == descriptors + 3, "rotated segments were left open"
    journal.close()

    journal = Journal.open(tmp_path, segment_bytes=SEGMENT_BYTES)
    found, position = [], 0
    while records := journal.read(position):
        found += [record.payload for record in records]
        position = records[-1].end
    assert found == payloads
    journal.close()


def test_durable_never_falls_when_syncs_overlap(tmp_path):
    journal = Journal.open(tmp_path)
    seen = [0]
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            if (durable := journal.durable) != seen[-1]:
                seen.append(durable)

    def sync_often():
        for _ in range(20):
            journal.sync()

    watcher = threading.Thread(target=watch, daemon=True)
    syncing = [threading.Thread(target=sync_often, daemon=True) for _ in range(3)]
    for thread in (watcher, *syncing):
        thread.start()
    while any(thread.is_alive() for thread in syncing):
        journal.append(b"x")
    stop.set()
    watcher.join()
    assert seen == sorted(seen)
    assert max(seen) > 0
    journal.close()
