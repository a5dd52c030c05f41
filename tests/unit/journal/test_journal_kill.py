"""A process that is killed while it works loses nothing that it had finished."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time

import journal_child as child
import pytest

from surplus.kit.journal import Journal, Slots, SlotState

pytestmark = pytest.mark.slow


def killed_after(reports, directory):
    """Start the worker, kill it once it has made some reports, and return the last it made."""
    command = [sys.executable, child.__file__, "work_until_killed", directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as worker:
        assert worker.stdout is not None
        seen = b""
        while len(seen) < 8 * reports:
            more = os.read(worker.stdout.fileno(), 8 * reports - len(seen))
            assert more, "the worker ended by itself"
            seen += more
        worker.send_signal(signal.SIGKILL)
        while more := os.read(worker.stdout.fileno(), 65536):
            seen += more
    assert worker.returncode == -signal.SIGKILL
    last = len(seen) // 8 - 1
    assert int.from_bytes(seen[8 * last : 8 * last + 8], "little") == last
    return last


def records_after(directory):
    journal = Journal.open(directory, segment_bytes=child.SEGMENT_BYTES)
    found, position = [], 0
    while records := journal.read(position):
        found += [record.payload for record in records]
        position = records[-1].end
    assert position == journal.end
    journal.close()
    return found


def possible_slots(last):
    """Every state that a worker may leave that finished record `last` and perhaps began the next."""
    first_update = last * child.UPDATES_PER_RECORD + child.UPDATES_PER_RECORD - 1
    request, following = last // child.RECORDS_PER_REQUEST, (last + 1) // child.RECORDS_PER_REQUEST
    states = [(request, child.counters(first_update))]
    if following != request:
        states.append((following, dict.fromkeys(child.counters(0), 0)))
    states += [(following, child.counters(first_update + step)) for step in range(1, child.UPDATES_PER_RECORD + 1)]
    possible = [[SlotState(f"request-{number}", **values)] for number, values in states]
    return possible + ([[]] if following != request else [])


@pytest.mark.parametrize("run", range(20))
def test_everything_reported_before_a_kill_is_there_afterwards(tmp_path, run):
    last = killed_after(random.Random(run).randrange(1, 2000), tmp_path)
    found = records_after(tmp_path)
    assert last + 1 <= len(found) <= last + 2
    assert found == [child.payload(number) for number in range(len(found))]
    slots = Slots.open(tmp_path / "slots", 4)
    assert slots.survivors() in possible_slots(last)
    slots.close()


def assert_one_moment(survivors):
    """No slot, or a whole request id with the counters of one update of that request, or with none yet."""
    assert len(survivors) <= 1
    for state in survivors:
        first, second = (int(part) for part in state.request_id.split("-"))
        assert first == second
        values = dataclasses.asdict(state)
        del values["request_id"]
        if any(values.values()):
            number = state.uncached * pow(child.SPREAD, -1, 2**64) % 2**64
            assert values == child.counters(number)
            assert number // child.UPDATES_PER_RECORD == first


def wait_for_change(path, before):
    """Wait until the worker has written something since `before`."""
    deadline = time.monotonic() + 10
    while path.read_bytes() == before:
        assert time.monotonic() < deadline, "the worker does not write"


def test_a_process_stopped_at_any_instruction_leaves_no_mixture(tmp_path):
    command = [sys.executable, child.__file__, "update_until_killed", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as worker:
        assert worker.stdout is not None
        assert worker.stdout.read(1) == b"!"
        frozen = b""
        try:
            for _ in range(500):
                wait_for_change(tmp_path / "slots", frozen)
                worker.send_signal(signal.SIGSTOP)
                os.waitpid(worker.pid, os.WUNTRACED)
                frozen = (tmp_path / "slots").read_bytes()
                (tmp_path / "copy").write_bytes(frozen)
                slots = Slots.open(tmp_path / "copy", 1)
                assert_one_moment(slots.survivors())
                slots.close()
                worker.send_signal(signal.SIGCONT)
        finally:
            worker.kill()
