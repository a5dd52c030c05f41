"""What a journal makes of files that were cut short or damaged."""

import pytest

from surplus.kit.journal import Journal, JournalCorrupt, frames

PAYLOADS = [b"first", b"second one", b"the third and last record"]


def segment(directory, start=0):
    return directory / f"{start:020d}.journal"


def written(directory, payloads=PAYLOADS, **options):
    """A closed journal with these records; returns the positions after each."""
    journal = Journal.open(directory, **options)
    ends = [journal.append(payload) for payload in payloads]
    journal.close()
    return ends


def everything(journal):
    found, position = [], journal.start
    while records := journal.read(position):
        found += [record.payload for record in records]
        position = records[-1].end
    return found


def assert_repaired(directory, ends, good, torn):
    journal = Journal.open(directory)
    assert journal.truncated_bytes == torn
    assert journal.end == journal.durable == ([0, *ends])[good]
    assert segment(directory).stat().st_size == journal.end
    journal.append(b"next")
    assert everything(journal) == [*PAYLOADS[:good], b"next"]
    journal.close()
    journal = Journal.open(directory)
    assert journal.truncated_bytes == 0
    assert everything(journal) == [*PAYLOADS[:good], b"next"]
    journal.close()


LAST_FRAME = frames.HEADER_BYTES + len(PAYLOADS[-1])


@pytest.mark.parametrize("kept", range(LAST_FRAME))
def test_a_last_record_cut_at_any_byte_is_dropped(tmp_path, kept):
    ends = written(tmp_path)
    with segment(tmp_path).open("r+b") as file:
        file.truncate(ends[1] + kept)
    assert_repaired(tmp_path, ends, good=2, torn=kept)


@pytest.mark.parametrize("offset", range(LAST_FRAME))
def test_a_last_record_with_any_byte_wrong_is_dropped(tmp_path, offset):
    ends = written(tmp_path)
    data = bytearray(segment(tmp_path).read_bytes())
    data[ends[1] + offset] ^= 0x41
    segment(tmp_path).write_bytes(data)
    assert_repaired(tmp_path, ends, good=2, torn=LAST_FRAME)


@pytest.mark.parametrize("kept", range(LAST_FRAME))
def test_a_last_record_that_was_never_filled_in_is_dropped(tmp_path, kept):
    ends = written(tmp_path)
    with segment(tmp_path).open("r+b") as file:
        file.truncate(ends[1] + kept)
        file.truncate(ends[2] + 5000)
    assert_repaired(tmp_path, ends, good=2, torn=LAST_FRAME + 5000)


def test_a_journal_whose_only_record_is_torn_becomes_empty(tmp_path):
    written(tmp_path)
    with segment(tmp_path).open("r+b") as file:
        file.truncate(3)
    assert_repaired(tmp_path, [], good=0, torn=3)


def test_a_torn_record_that_holds_the_bytes_of_a_frame_is_still_torn(tmp_path):
    written(tmp_path, [frames.encode(b"forged", 0) * 3])
    with segment(tmp_path).open("r+b") as file:
        file.truncate(40)
    journal = Journal.open(tmp_path)
    assert (journal.end, journal.truncated_bytes) == (0, 40)
    journal.close()


@pytest.mark.parametrize("offset", range(frames.HEADER_BYTES + len(PAYLOADS[0])))
def test_damage_before_valid_records_is_refused_and_nothing_is_changed(tmp_path, offset):
    ends = written(tmp_path)
    data = bytearray(segment(tmp_path).read_bytes())
    data[offset] ^= 0x41
    segment(tmp_path).write_bytes(data)
    with pytest.raises(JournalCorrupt) as caught:
        Journal.open(tmp_path)
    assert str(segment(tmp_path)) in caught.value.message
    assert "byte 0" in caught.value.message
    assert f"follow at byte {ends[0]}" in caught.value.message
    assert f"truncate -s 0 {segment(tmp_path)}" in caught.value.message
    assert segment(tmp_path).read_bytes() == data


def test_the_way_out_that_the_message_names_works(tmp_path):
    ends = written(tmp_path)
    data = bytearray(segment(tmp_path).read_bytes())
    data[ends[0]] ^= 1
    segment(tmp_path).write_bytes(data)
    with pytest.raises(JournalCorrupt, match=f"truncate -s {ends[0]} "):
        Journal.open(tmp_path)
    with segment(tmp_path).open("r+b") as file:
        file.truncate(ends[0])
    assert_repaired(tmp_path, ends, good=1, torn=0)


def test_a_refused_journal_is_not_left_locked(tmp_path):
    written(tmp_path)
    good = segment(tmp_path).read_bytes()
    segment(tmp_path).write_bytes(b"?" + good[1:])
    with pytest.raises(JournalCorrupt):
        Journal.open(tmp_path)
    segment(tmp_path).write_bytes(good)
    Journal.open(tmp_path).close()


def test_a_long_damaged_stretch_before_a_valid_record_is_found(tmp_path):
    ends = written(tmp_path, [b"a" * 300_000, b"b" * 300_000, b"c"])
    data = bytearray(segment(tmp_path).read_bytes())
    data[: ends[1]] = b"\0" * ends[1]
    segment(tmp_path).write_bytes(data)
    with pytest.raises(JournalCorrupt, match=f"follow at byte {ends[1]}"):
        Journal.open(tmp_path)


def test_damage_in_an_earlier_segment_is_refused_when_it_is_read(tmp_path):
    payloads = [b"%d" % number * 30 for number in range(6)]
    ends = written(tmp_path, payloads, segment_bytes=80)
    assert segment(tmp_path, ends[1]).exists()
    data = bytearray(segment(tmp_path).read_bytes())
    data[ends[0] + 10] ^= 1
    segment(tmp_path).write_bytes(data)
    journal = Journal.open(tmp_path, segment_bytes=80)
    assert [record.payload for record in journal.read(0)] == payloads[:1]
    with pytest.raises(JournalCorrupt, match=rf"{segment(tmp_path)} has no valid record at byte {ends[0]}"):
        journal.read(ends[0])
    assert journal.read(ends[1])[0].payload == payloads[2]
    journal.close()


def test_an_earlier_segment_cut_short_is_refused(tmp_path):
    ends = written(tmp_path, [b"x" * 30] * 6, segment_bytes=80)
    with segment(tmp_path).open("r+b") as file:
        file.truncate(ends[1] - 1)
    with pytest.raises(JournalCorrupt, match=f"ends at journal position {ends[1] - 1}, .* begins at {ends[1]}"):
        Journal.open(tmp_path)


def test_a_missing_segment_is_refused(tmp_path):
    ends = written(tmp_path, [b"x" * 30] * 6, segment_bytes=80)
    segment(tmp_path, ends[1]).unlink()
    with pytest.raises(JournalCorrupt, match="a file is missing"):
        Journal.open(tmp_path)


def test_a_segment_under_the_name_of_another_place_holds_no_records(tmp_path):
    written(tmp_path, [b"x" * 30])
    segment(tmp_path).rename(segment(tmp_path, 500))
    journal = Journal.open(tmp_path)
    assert (journal.start, journal.end, journal.truncated_bytes) == (500, 500, 38)
    journal.close()


def test_files_that_are_no_segments_are_left_alone(tmp_path):
    written(tmp_path)
    (tmp_path / "7.journal").write_bytes(b"?")
    (tmp_path / f"{9:020d}.journal.bak").write_bytes(b"?")
    journal = Journal.open(tmp_path)
    assert everything(journal) == PAYLOADS
    journal.close()
