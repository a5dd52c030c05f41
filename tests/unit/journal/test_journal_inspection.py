"""Looking at a journal from outside, whole, damaged, or in use."""

import threading
from pathlib import Path

import pytest

from surplus.kit.journal import Inspection, Journal, JournalCorrupt, inspect

SEGMENT_BYTES = 4096
KEPT_BYTES = 4 * SEGMENT_BYTES
DISCARDED_BYTES = 40 * SEGMENT_BYTES


def test_an_empty_or_missing_journal(tmp_path: Path) -> None:
    Journal.open(tmp_path / "journal").close()
    assert inspect(tmp_path / "journal") == Inspection(0, 0, 0)
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none")


def test_it_sees_what_is_kept_and_changes_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=SEGMENT_BYTES)
    ends = [journal.append(b"%04d" % number * 50) for number in range(100)]
    journal.discard(ends[50])
    last = max(tmp_path.glob("*.journal"))
    with last.open("ab") as file:
        file.write(b"half")
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert inspect(tmp_path) == Inspection(journal.start, ends[-1], 4)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    journal.close()


def test_damage_is_refused_wherever_it_is(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=SEGMENT_BYTES)
    for number in range(100):
        journal.append(b"%04d" % number * 50)
    journal.close()
    for path in sorted(tmp_path.glob("*.journal")):
        content = path.read_bytes()
        path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
        with pytest.raises(JournalCorrupt, match=path.name):
            inspect(tmp_path)
        path.write_bytes(content)
    assert inspect(tmp_path).unfinished_bytes == 0


def test_a_journal_in_use_is_never_taken_for_damaged(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=SEGMENT_BYTES)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            end = journal.append(b"x" * 200)
            journal.sync()
            journal.discard(end - KEPT_BYTES)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        seen = [inspect(tmp_path)]
        while seen[-1].start < DISCARDED_BYTES:
            seen.append(inspect(tmp_path))
    finally:
        done.set()
        writer.join()
    ends = [each.end for each in seen]
    assert ends == sorted(ends)
    assert inspect(tmp_path) == Inspection(journal.start, journal.end, 0)
    journal.close()
