"""Full disks, failing disks, and two servers on one directory."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from surplus.kit.journal import Journal, JournalLocked, JournalUnavailable, Slots

CHILD = Path(__file__).with_name("journal_child.py")


def child(what, directory):
    """Run one function of the other process and return what it printed."""
    done = subprocess.run(
        [sys.executable, CHILD, what, directory], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_second_process_is_refused_and_told_why(tmp_path):
    journal = Journal.open(tmp_path)
    slots = Slots.open(tmp_path / "slots", 4)
    first, second = child("try_to_open", tmp_path).splitlines()
    assert first.startswith(f"journal_locked 409 {tmp_path / 'lock'} is locked: another server runs on {tmp_path}.")
    assert second.startswith(f"journal_locked 409 {tmp_path / 'slots'} is locked: another server runs on {tmp_path}.")
    journal.close()
    slots.close()
    assert child("try_to_open", tmp_path) == ""


def test_a_second_open_in_the_same_process_is_refused(tmp_path):
    journal = Journal.open(tmp_path)
    with pytest.raises(JournalLocked):
        Journal.open(tmp_path)
    journal.append(b"the first is not disturbed")
    journal.close()
    Journal.open(tmp_path).close()


def test_a_full_disk_refuses_records_and_nothing_else(tmp_path):
    assert child("fill_the_disk", tmp_path) == "done"
    journal = Journal.open(tmp_path)
    assert journal.truncated_bytes == 0
    assert [record.payload for record in journal.read(0)] == [b"f" * 100] * 9 + [b"s" * 20, b"room again"]
    journal.close()


def test_a_process_out_of_descriptors_stays_in_its_segment(tmp_path):
    assert child("run_out_of_descriptors", tmp_path) == "done"
    journal = Journal.open(tmp_path)
    records = journal.read(0)
    assert [record.payload for record in records] == [b"x" * 42] * 10
    assert journal.read(records[-1].end)[0].payload == b"y" * 42
    journal.close()


def replaced_by_a_pipe(descriptor):
    """A pipe takes writes but can be neither synced nor truncated, as a disk that fails."""
    reader, writer = os.pipe()
    os.dup2(writer, descriptor)
    os.close(writer)
    return reader


def test_after_a_failed_fsync_the_journal_takes_no_more(tmp_path):
    journal = Journal.open(tmp_path)
    journal.append(b"safe")
    durable = journal.sync()
    journal.append(b"lost")
    reader = replaced_by_a_pipe(journal._file)
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="disk failed"):
            journal.sync()
    with pytest.raises(JournalUnavailable, match="disk failed"):
        journal.append(b"more")
    assert journal.durable == durable
    journal.close()
    os.close(reader)
    Journal.open(tmp_path).close()


def test_sync_covers_a_segment_that_was_just_rotated(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=20)
    journal.append(b"x" * 12)
    reader = replaced_by_a_pipe(journal._file)
    journal.append(b"y" * 12)
    with pytest.raises(JournalUnavailable, match="disk failed"):
        journal.sync()
    assert journal.durable == 0
    journal.close()
    os.close(reader)


def test_sync_covers_the_directory_of_a_new_segment(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=20)
    journal.append(b"x" * 12)
    reader = replaced_by_a_pipe(journal._directory_file)
    assert journal.sync() == 20
    journal.append(b"y" * 12)
    with pytest.raises(JournalUnavailable, match="disk failed"):
        journal.sync()
    journal.close()
    os.close(reader)


def test_a_failed_write_that_cannot_be_undone_ends_the_journal(tmp_path):
    journal = Journal.open(tmp_path)
    end = journal.append(b"good")
    os.close(replaced_by_a_pipe(journal._file))  # nobody reads: a write fails, and a pipe cannot be cut back
    with pytest.raises(JournalUnavailable, match="disk failed"):
        journal.append(b"bad")
    assert journal.end == end
    with pytest.raises(JournalUnavailable, match="disk failed"):
        journal.append(b"worse")
    journal.close()


def test_a_failed_write_that_was_undone_leaves_the_journal_usable(tmp_path):
    journal = Journal.open(tmp_path)
    end = journal.append(b"good")
    good = os.dup(journal._file)
    sealed = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)  # refuses writes, but can be cut to a size
    os.dup2(sealed, journal._file)
    with pytest.raises(JournalUnavailable, match="could not record a request: Operation not permitted"):
        journal.append(b"bad")
    assert journal.end == end
    os.dup2(good, journal._file)
    journal.append(b"good again")
    assert [record.payload for record in journal.read(0)] == [b"good", b"good again"]
    journal.close()
    os.close(good)
    os.close(sealed)


def test_slots_set_their_space_aside_when_they_are_opened(tmp_path):
    assert "no room for 1000 slots (256256 bytes)" in child("find_no_room_for_slots", tmp_path)
    slots = Slots.open(tmp_path / "slots", 1000)
    assert (tmp_path / "slots").stat().st_blocks * 512 >= 256_256
    slots.close()
