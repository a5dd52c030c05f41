"""A journal is copied while it is written: cut at a record, whole, and with what was discarded meanwhile."""

from pathlib import Path

import pytest

from surplus.kit.journal import Journal, JournalCorrupt, JournalDiscarded, pinned


def _written(directory: Path, count: int = 20) -> tuple[Journal, list[int]]:
    journal = Journal.open(directory, segment_bytes=128)
    return journal, [journal.append(b"record %d" % number) for number in range(count)]


def _payloads(directory: Path) -> list[bytes]:
    journal = Journal.open(directory)
    found, position = [], journal.start
    while records := journal.read(position):
        found += [record.payload for record in records]
        position = records[-1].end
    journal.close()
    return found


def test_a_copy_has_what_was_asked_for_and_is_a_journal(tmp_path: Path) -> None:
    journal, ends = _written(tmp_path / "journal")
    with pinned(tmp_path / "journal") as held:
        assert held.look() == ends[-1]
        held.copy(tmp_path / "copy", start=ends[7], end=ends[12])
    found = _payloads(tmp_path / "copy")
    assert found[-1] == b"record 12"
    assert b"record 8" in found
    assert b"record 0" not in found
    copied = Journal.open(tmp_path / "copy")
    assert copied.start <= ends[7] < copied.end == ends[12]
    copied.close()
    journal.close()


def test_what_is_discarded_after_the_look_is_copied(tmp_path: Path) -> None:
    journal, ends = _written(tmp_path / "journal")
    with pinned(tmp_path / "journal") as held:
        held.look()
        journal.append(b"one more")
        journal.discard(journal.end)
        held.look()
        held.copy(tmp_path / "copy", start=0, end=ends[-1])
    assert _payloads(tmp_path / "copy") == [b"record %d" % number for number in range(20)]
    journal.close()


def test_what_was_discarded_before_it_is_missed(tmp_path: Path) -> None:
    journal, ends = _written(tmp_path / "journal")
    journal.discard(journal.end)
    with pinned(tmp_path / "journal") as held:
        held.look()
        with pytest.raises(JournalDiscarded, match="try again"):
            held.copy(tmp_path / "copy", start=0, end=ends[-1])
    journal.close()


def test_a_journal_that_is_all_loaded_keeps_its_place(tmp_path: Path) -> None:
    """Or the positions that the database knows would be given out again."""
    journal, ends = _written(tmp_path / "journal")
    with pinned(tmp_path / "journal") as held:
        held.look()
        held.copy(tmp_path / "copy", start=ends[-1], end=ends[-1])
    copied = Journal.open(tmp_path / "copy")
    assert copied.end == ends[-1]
    copied.close()
    journal.close()


@pytest.mark.parametrize("made", [False, True])
def test_an_empty_journal_and_one_that_is_not_there(tmp_path: Path, made: bool) -> None:
    if made:
        Journal.open(tmp_path / "journal").close()
    with pinned(tmp_path / "journal") as held:
        assert held.look() == 0
        held.copy(tmp_path / "copy", start=0, end=0)
    assert _payloads(tmp_path / "copy") == []


def test_an_unfinished_record_is_not_part_of_it(tmp_path: Path) -> None:
    journal, ends = _written(tmp_path / "journal")
    last = sorted((tmp_path / "journal").glob("*.journal"))[-1]
    with last.open("ab") as file:
        file.write(b"\x09\0\0\0half")
    with pinned(tmp_path / "journal") as held:
        assert held.look() == ends[-1]
    journal.close()


def test_damage_is_not_copied(tmp_path: Path) -> None:
    journal, ends = _written(tmp_path / "journal")
    first = sorted((tmp_path / "journal").glob("*.journal"))[0]
    data = bytearray(first.read_bytes())
    data[10] ^= 1
    first.write_bytes(data)
    with pinned(tmp_path / "journal") as held:
        held.look()
        with pytest.raises(JournalCorrupt, match="cannot be backed up"):
            held.copy(tmp_path / "copy", start=0, end=ends[-1])
    journal.close()
