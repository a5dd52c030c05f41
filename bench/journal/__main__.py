"""What one record costs the event loop, and one fsync the disk: `.venv/bin/python -m bench.journal [DIRECTORY]`.

Run it on the file system that will hold the journal; without DIRECTORY it uses the temporary one.
"""

import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from surplus.kit.journal import Journal, Slot, Slots

PAYLOAD = bytes(range(256)) + bytes(44)
APPENDS = 200_000
SYNCS = 50
UPDATES = 200_000


def main(directory: Path) -> None:
    """Print a table for a journal and a slot file in a new folder under `directory`."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="journal-bench-") as name:
        path = Path(name)
        journal = Journal.open(path / "quiet")
        report("append, 300 bytes", each_us(lambda: journal.append(PAYLOAD), APPENDS))
        report("read, per record of 1000", each_batch(journal))
        journal.close()
        report("append while another thread syncs", beside_sync(path / "busy"))
        report("append 10 + fsync, alone", fsyncs(path / "fsync"))
        slots = Slots.open(path / "slots", 1024)
        slot = slots.claim("req_0123456789abcdef")
        report("slot: update", each_us(lambda: update(slot), UPDATES))
        report("slot: delivered", each_us(lambda: slot.delivered(123_456, 789), UPDATES))
        slot.release()
        report("slot: claim and release", each_us(lambda: slots.claim("req_0123456789abcdef").release(), UPDATES))
        slots.close()


def update(slot: Slot) -> None:
    """Change all six counters."""
    slot.update(uncached=900, cache_read=4096, cache_write=0, output=77, delivered_bytes=31_000, delivered_events=77)


def each_us(work: Callable[[], object], times: int) -> list[float]:
    """Microseconds of each call; includes about 0.1 us for the clock."""
    took: list[float] = []
    for _ in range(times):
        began = perf_counter()
        work()
        took.append((perf_counter() - began) * 1e6)
    return took


def each_batch(journal: Journal) -> list[float]:
    """Microseconds per record of each batch of 1000, over the whole journal."""
    took: list[float] = []
    position = journal.start
    while position < journal.end:
        began = perf_counter()
        records = journal.read(position)
        took.append((perf_counter() - began) * 1e6 / len(records))
        position = records[-1].end
    return took


def beside_sync(directory: Path) -> list[float]:
    """Microseconds of each append while a second thread syncs every 5 ms."""
    journal = Journal.open(directory)
    done = threading.Event()

    def sync_until_done() -> None:
        while not done.wait(0.005):
            journal.sync()

    worker = threading.Thread(target=sync_until_done)
    worker.start()
    took = each_us(lambda: journal.append(PAYLOAD), APPENDS)
    done.set()
    worker.join()
    journal.close()
    return took


def fsyncs(directory: Path) -> list[float]:
    """Microseconds of each sync with ten new records."""
    journal = Journal.open(directory)
    took: list[float] = []
    for _ in range(SYNCS):
        for _ in range(10):
            journal.append(PAYLOAD)
        took += each_us(journal.sync, 1)
    journal.close()
    return took


def report(what: str, took_us: list[float]) -> None:
    """One line: mean, median, 99th percentile, worst, and calls per second."""
    ordered = sorted(took_us)
    mean = statistics.fmean(ordered)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(
        f"{what:34}{mean:9.2f} us mean {statistics.median(ordered):9.2f} p50 {p99:9.2f} p99 {ordered[-1]:10.1f} max"
        f" {1e6 / mean:10.0f} /s"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir()))
