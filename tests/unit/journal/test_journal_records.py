"""What a journal promises while nothing goes wrong."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.kit.journal import Journal, JournalCorrupt, JournalDiscarded, JournalUnavailable, RecordTooLarge, frames


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@given(
    payload=st.binary(max_size=200),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
    position=st.integers(0, 2**63),
)
def test_a_frame_decodes_to_its_payload_wherever_it_lies(payload, before, after, position):
    data = before + frames.encode(payload, position) + after
    assert frames.decode(data, len(before), position) == payload


@given(payload=st.binary(max_size=50), position=st.integers(0, 2**40), flip=st.integers(0, 8 * 58 - 1))
def test_a_frame_with_one_wrong_bit_is_no_frame(payload, position, flip):
    data = bytearray(frames.encode(payload, position))
    flip %= 8 * len(data)
    data[flip // 8] ^= 1 << flip % 8
    assert frames.decode(bytes(data), 0, position) is None


def test_a_frame_is_valid_at_its_own_position_only():
    data = frames.encode(b"paid", 4096)
    assert frames.decode(data, 0, 4096) == b"paid"
    assert frames.decode(data, 0, 4097) is None


def test_records_come_back_in_order_with_their_ends(tmp_path):
    journal = Journal.open(tmp_path / "j")
    payloads = [b"", b"a", b"x" * 5000, b"\0" * 40]
    ends = [journal.append(payload) for payload in payloads]
    records = journal.read(0)
    assert [record.payload for record in records] == payloads
    assert [record.end for record in records] == ends
    assert ends == sorted(set(ends))
    assert journal.end == ends[-1] == sum(8 + len(payload) for payload in payloads)
    assert journal.start == 0
    journal.close()


def test_a_new_journal_is_empty(tmp_path):
    journal = Journal.open(tmp_path / "j")
    assert (journal.start, journal.end, journal.durable, journal.truncated_bytes) == (0, 0, 0, 0)
    assert journal.read(0) == []
    assert journal.sync() == 0
    journal.close()


def test_reading_goes_on_from_any_record(tmp_path):
    journal = Journal.open(tmp_path / "j")
    ends = [journal.append(b"%d" % number) for number in range(10)]
    for index, end in enumerate(ends):
        assert [record.payload for record in journal.read(end)] == [b"%d" % n for n in range(index + 1, 10)]
    journal.close()


def test_a_read_returns_at_most_the_records_asked_for(tmp_path):
    journal = Journal.open(tmp_path / "j")
    for number in range(10):
        journal.append(b"%d" % number)
    first = journal.read(0, max_records=4)
    assert [record.payload for record in first] == [b"0", b"1", b"2", b"3"]
    assert journal.read(first[-1].end, max_records=1)[0].payload == b"4"
    journal.close()


def test_a_read_until_durable_leaves_out_what_a_power_cut_could_take_back(tmp_path):
    journal = Journal.open(tmp_path / "j")
    journal.append(b"one")
    journal.append(b"two")
    durable = journal.sync()
    journal.append(b"three")
    assert [record.payload for record in journal.read(0, until=journal.durable)] == [b"one", b"two"]
    assert journal.read(durable, until=journal.durable) == []
    assert [record.payload for record in journal.read(durable)] == [b"three"]
    journal.close()


def test_records_larger_than_a_read_block_are_read_whole(tmp_path):
    journal = Journal.open(tmp_path / "j", max_record_bytes=5_000_000)
    payloads = [b"small", b"L" * 3_000_000, b"after", b"M" * 1_048_570, b"end"]
    for payload in payloads:
        journal.append(payload)
    found, position = [], 0
    while records := journal.read(position):
        found += [record.payload for record in records]
        position = records[-1].end
    assert found == payloads
    assert position == journal.end
    journal.close()


def test_a_reopened_journal_goes_on_where_it_stopped(tmp_path):
    journal = Journal.open(tmp_path / "j")
    first = journal.append(b"first")
    journal.close()
    journal = Journal.open(tmp_path / "j")
    assert (journal.end, journal.durable, journal.truncated_bytes) == (first, first, 0)
    journal.append(b"second")
    assert [record.payload for record in journal.read(0)] == [b"first", b"second"]
    journal.close()


def test_a_smaller_record_limit_does_not_lose_larger_records(tmp_path):
    journal = Journal.open(tmp_path / "j")
    journal.append(b"x" * 1000)
    journal.close()
    journal = Journal.open(tmp_path / "j", max_record_bytes=10)
    assert journal.truncated_bytes == 0
    assert journal.read(0)[0].payload == b"x" * 1000
    journal.close()


def test_a_record_over_the_limit_is_refused_and_leaves_no_trace(tmp_path):
    journal = Journal.open(tmp_path / "j", max_record_bytes=10)
    journal.append(b"x" * 10)
    with pytest.raises(RecordTooLarge, match="11 bytes is over the journal's limit of 10"):
        journal.append(b"x" * 11)
    journal.append(b"y")
    assert [record.payload for record in journal.read(0)] == [b"x" * 10, b"y"]
    journal.close()


def test_a_position_inside_a_record_is_refused(tmp_path):
    journal = Journal.open(tmp_path / "j")
    end = journal.append(b"a record of some length")
    journal.append(b"another")
    for position in range(1, end):
        with pytest.raises(JournalCorrupt, match=f"journal position {position}"):
            journal.read(position)
    journal.close()


def test_a_payload_that_looks_like_a_frame_is_no_boundary(tmp_path):
    journal = Journal.open(tmp_path / "j")
    journal.append(frames.encode(b"forged", 0))
    with pytest.raises(JournalCorrupt):
        journal.read(frames.HEADER_BYTES)
    journal.close()


def test_a_position_past_the_end_is_refused(tmp_path):
    journal = Journal.open(tmp_path / "j")
    end = journal.append(b"only")
    assert journal.read(end) == []
    with pytest.raises(JournalCorrupt, match="past the end"):
        journal.read(end + 1)
    journal.close()


def test_a_position_before_the_start_is_refused(tmp_path):
    journal = Journal.open(tmp_path / "j", segment_bytes=20)
    journal.append(b"x" * 12)
    second = journal.append(b"y" * 12)
    journal.discard(second)
    assert journal.start == 20
    with pytest.raises(JournalDiscarded, match="begins at 20"):
        journal.read(0)
    journal.close()


def test_directory_and_files_are_private(tmp_path):
    journal = Journal.open(tmp_path / "new" / "j", segment_bytes=20)
    journal.append(b"x" * 12)
    journal.append(b"x" * 12)
    assert stat.S_IMODE((tmp_path / "new" / "j").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "j").iterdir()}
    assert modes == {"lock": 0o600, f"{0:020d}.journal": 0o600, f"{20:020d}.journal": 0o600}
    journal.close()


def test_a_closed_journal_takes_nothing_and_leaves_no_descriptor(tmp_path):
    before = open_descriptors()
    journal = Journal.open(tmp_path / "j", segment_bytes=20)
    for _ in range(3):
        journal.append(b"x" * 12)
    journal.close()
    journal.close()
    assert open_descriptors() == before
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.append(b"late")
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.sync()
