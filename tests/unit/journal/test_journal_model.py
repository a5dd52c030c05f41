"""Any sequence of operations leaves a journal that agrees with a list."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from surplus.kit.journal import Journal, JournalDiscarded, RecordTooLarge

SEGMENT_BYTES = 100
MAX_RECORD_BYTES = 120


class JournalMachine(RuleBasedStateMachine):
    """The model: (start, end, payload) of every record still kept, and the starts of the segments."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-model-"))
        self.records: list[tuple[int, int, bytes]] = []
        self.segments = [0]
        self.end = 0
        self.durable = 0

    @initialize()
    def open(self):
        self.journal = Journal.open(self.directory, segment_bytes=SEGMENT_BYTES, max_record_bytes=MAX_RECORD_BYTES)

    def teardown(self):
        if hasattr(self, "journal"):
            self.journal.close()
        shutil.rmtree(self.directory)

    @rule(payload=st.binary(max_size=MAX_RECORD_BYTES))
    def append(self, payload):
        end = self.end + 8 + len(payload)
        if end - self.segments[-1] > SEGMENT_BYTES and self.end != self.segments[-1]:
            self.segments.append(self.end)
        assert self.journal.append(payload) == end
        self.records.append((self.end, end, payload))
        self.end = end

    @rule()
    def append_too_much(self):
        with pytest.raises(RecordTooLarge):
            self.journal.append(bytes(MAX_RECORD_BYTES + 1))

    @rule(data=st.data(), max_records=st.integers(1, 5))
    def read(self, data, max_records):
        kept = [record for record in self.records if record[0] >= self.segments[0]]
        index = data.draw(st.integers(0, len(kept)))
        position = kept[index][0] if index < len(kept) else self.end
        until = data.draw(st.sampled_from([None, self.durable]))
        wanted = [(end, payload) for _, end, payload in kept[index:] if until is None or end <= until]
        found = [
            (record.end, record.payload) for record in self.journal.read(position, max_records=max_records, until=until)
        ]
        assert found == wanted[: len(found)]
        assert len(found) <= max_records
        assert bool(found) == bool(wanted)

    @precondition(lambda self: self.segments[0] > 0)
    @rule()
    def read_what_is_gone(self):
        with pytest.raises(JournalDiscarded):
            self.journal.read(self.segments[0] - 1)

    @rule()
    def sync(self):
        assert self.journal.sync() == self.end
        self.durable = self.end

    @rule(data=st.data())
    def discard(self, data):
        before = data.draw(st.integers(0, self.end + 10))
        freed = 0
        while len(self.segments) > 1 and self.segments[1] <= before:
            freed += self.segments[1] - self.segments[0]
            del self.segments[0]
        assert self.journal.discard(before) == freed

    @rule()
    def reopen(self):
        self.journal.close()
        self.open()
        assert self.journal.truncated_bytes == 0
        self.durable = self.end

    @rule(data=st.data())
    def reopen_with_a_torn_tail(self, data):
        self.journal.close()
        size = data.draw(st.integers(0, self.end - self.segments[-1]))
        with (self.directory / f"{self.segments[-1]:020d}.journal").open("r+b") as file:
            file.truncate(size)
        cut = self.segments[-1] + size
        self.records = [record for record in self.records if record[1] <= cut]
        self.end = max([self.segments[-1], *(end for _, end, _ in self.records)])
        self.open()
        assert self.journal.truncated_bytes == cut - self.end
        self.durable = self.end

    @invariant()
    def agrees(self):
        if hasattr(self, "journal"):
            assert (self.journal.start, self.journal.end) == (self.segments[0], self.end)
            assert self.journal.durable == self.durable
            files = sorted(int(path.stem) for path in self.directory.glob("*.journal"))
            assert files == self.segments


JournalMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestJournalAgreesWithAList = JournalMachine.TestCase
