"""Segments: one file ends, the next begins, old ones go."""

from surplus.kit.journal import Journal


def segments(directory):
    return sorted(int(path.stem) for path in directory.glob("*.journal"))


def everything(journal):
    found, position = [], journal.start
    while records := journal.read(position):
        found += [record.payload for record in records]
        position = records[-1].end
    return found


def test_a_full_segment_is_followed_by_one_named_after_its_start(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    ends = [journal.append(b"x" * 12) for _ in range(5)]
    assert ends == [20, 40, 60, 80, 100]
    assert segments(tmp_path) == [0, 40, 80]
    assert (tmp_path / "00000000000000000040.journal").stat().st_size == 40
    journal.close()


def test_reading_crosses_segments(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    payloads = [b"%012d" % number for number in range(50)]
    for payload in payloads:
        journal.append(payload)
    assert everything(journal) == payloads
    journal.close()
    journal = Journal.open(tmp_path, segment_bytes=40)
    assert everything(journal) == payloads
    journal.close()


def test_a_record_larger_than_a_segment_gets_one_of_its_own(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    payloads = [b"L" * 100, b"s", b"L" * 100, b"s"]
    for payload in payloads:
        journal.append(payload)
    assert segments(tmp_path) == [0, 108, 117, 225]
    assert everything(journal) == payloads
    journal.close()


def test_a_reopened_journal_fills_its_last_segment_first(tmp_path):
    for _ in range(4):
        journal = Journal.open(tmp_path, segment_bytes=40)
        journal.append(b"x" * 12)
        journal.close()
    assert segments(tmp_path) == [0, 40]


def test_an_empty_last_segment_is_an_ordinary_start(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    end = [journal.append(b"x" * 12) for _ in range(2)][-1]
    journal.close()
    (tmp_path / f"{end:020d}.journal").touch()
    journal = Journal.open(tmp_path, segment_bytes=40)
    assert (journal.end, journal.truncated_bytes) == (end, 0)
    journal.append(b"y")
    assert everything(journal) == [b"x" * 12, b"x" * 12, b"y"]
    journal.close()


def test_discard_deletes_whole_segments_that_end_at_or_before_the_position(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    for _ in range(6):
        journal.append(b"x" * 12)
    assert journal.discard(39) == 0
    assert segments(tmp_path) == [0, 40, 80]
    assert journal.discard(40) == 40
    assert (journal.start, segments(tmp_path)) == (40, [40, 80])
    assert journal.discard(79) == 0
    assert len(everything(journal)) == 4
    journal.close()


def test_discard_never_deletes_the_current_segment(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    for _ in range(6):
        journal.append(b"x" * 12)
    assert journal.discard(journal.end) == 80
    assert (journal.start, journal.end) == (80, 120)
    assert journal.discard(journal.end + 1_000_000) == 0
    journal.append(b"y" * 12)
    assert everything(journal)[-1] == b"y" * 12
    journal.close()


def test_what_was_discarded_stays_gone_and_positions_go_on(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    for _ in range(6):
        journal.append(b"x" * 12)
    journal.discard(80)
    journal.close()
    journal = Journal.open(tmp_path, segment_bytes=40)
    assert (journal.start, journal.end) == (80, 120)
    assert journal.append(b"y" * 12) == 140
    journal.close()


def test_a_segment_discarded_before_it_was_synced_does_not_stop_the_sync(tmp_path):
    journal = Journal.open(tmp_path, segment_bytes=40)
    for _ in range(6):
        journal.append(b"x" * 12)
    journal.discard(80)
    assert journal.sync() == journal.end == 120
    journal.close()
