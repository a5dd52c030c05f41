"""Every admitted request ends exactly once, whatever the disk does."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from surplus.gateway.entries import Admitted, Settled, decode, encode
from surplus.gateway.limits import Limiter
from surplus.gateway.settlement import Ending, Settlement
from surplus.identity.model import Limits
from surplus.kit.clock import ManualClock
from surplus.kit.journal import Journal, JournalFull, JournalUnavailable, Slots
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from tests.unit.gateway.loading import ledgered
from tests.unit.gateway.parts import NOW, admitted, dollars, settled

LIMITS = Limits(rpm=5, tpm=100, concurrency=2)
USAGE = TokenUsage(uncached=10, cache_read=2, cache_write=1, output=5, reasoning=3)


class Desk:
    """A journal with everything around it that a settlement touches."""

    def __init__(self, journal: Journal, slots: Slots, clock: ManualClock) -> None:
        self.journal, self.slots, self.clock = journal, slots, clock
        self.limiter = Limiter()
        self.rings = 0
        self.observed: list[tuple[Settled, int]] = []
        self.ledgered = ledgered(journal, self.ring, self)

    def ring(self) -> None:
        self.rings += 1

    def settled(self, entry: Settled, grains: int) -> None:
        self.observed.append((entry, grains))

    def admit(self, request: str, tokens: int = 50) -> Settlement:
        entry = admitted(request)
        lease = self.limiter.take(entry.key, LIMITS, tokens, self.clock.monotonic())
        self.ledgered.admit(entry)
        slot = self.slots.claim(request)
        return Settlement(entry, dollars(), lease=lease, slot=slot, clock=self.clock, ledgered=self.ledgered)

    @property
    def entries(self) -> list[Admitted | Settled]:
        return [decode(record.payload) for record in self.journal.read(0)]

    @property
    def endings(self) -> list[str]:
        return [entry.admitted.request for entry in self.entries if isinstance(entry, Settled)]


@pytest.fixture
def desk(journal: Journal, slots: Slots, clock: ManualClock) -> Desk:
    return Desk(journal, slots, clock)


@contextmanager
def full_disk() -> Iterator[None]:
    """Files grow no further, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_settlement_says_everything_that_will_ever_be_known(desk: Desk) -> None:
    settlement = desk.admit("req_1")
    desk.clock.advance(1)
    settlement.first_token()
    desk.clock.advance(1)
    settlement.first_token()
    settlement.settle(Ending(Outcome.COMPLETED, 200, USAGE, degraded=True, waste_output=4, engine_request_id="up-1"))
    entry = desk.entries[-1]
    assert isinstance(entry, Settled)
    assert entry.admitted == desk.entries[0] == admitted("req_1")
    assert entry.usage == USAGE
    assert (entry.first_token_at, entry.ended_at) == (NOW + 1, NOW + 2)
    cost = 10 * 2 + 2 * 1 + 1 * 3 + 5 * 8
    assert int(entry.grains) == cost * GRAINS_PER_MICRO
    record = entry.record(charged_micro=cost, overrun_micro=0)
    assert (record.id, record.cost_micro, record.cost_rest_grains, record.usage) == ("req_1", cost, 0, USAGE)
    assert (record.started_at, record.first_token_at, record.ended_at) == (NOW, NOW + 1, NOW + 2)
    assert (record.degraded, record.waste_output, record.engine_request_id) == (True, 4, "up-1")
    assert (record.outcome, record.status, record.stream) == (Outcome.COMPLETED, 200, True)
    assert desk.observed == [(entry, cost * GRAINS_PER_MICRO)]


def test_a_request_ends_once_and_gives_everything_back(desk: Desk) -> None:
    settlement = desk.admit("req_1")
    assert desk.slots.in_use == 1
    for outcome in (Outcome.COMPLETED, Outcome.FAILED, Outcome.ABORTED):
        settlement.settle(Ending(outcome, 200, USAGE))
    assert settlement.settled
    assert desk.endings == ["req_1"]
    assert desk.entries[1].outcome is Outcome.COMPLETED
    assert len(desk.observed) == 1
    assert desk.slots.in_use == 0
    assert desk.rings == 1
    standing = dict(desk.limiter.standing("key_1", LIMITS, 0.0))
    assert standing["tokens"].remaining == 100 - (USAGE.input + USAGE.output)
    for _ in range(2):
        desk.limiter.take("key_1", LIMITS, 1, 0.0)


def test_what_an_ending_does_not_say_is_nothing(desk: Desk) -> None:
    desk.admit("req_1").settle(Ending(Outcome.FAILED, 502))
    (ending,) = [entry for entry in desk.entries if isinstance(entry, Settled)]
    assert (ending.usage, ending.waste_output, ending.degraded) == (TokenUsage(), 0, False)
    assert (ending.grains, ending.first_token_at, ending.engine_request_id) == ("0", None, None)


def test_whoever_answers_is_who_is_charged_for(desk: Desk) -> None:
    settlement = desk.admit("req_1")
    settlement.use("dep_1", dollars(version="ignored"))
    assert settlement.admitted == admitted("req_1")
    settlement.use("dep_2", dollars(output=100, sku="other", version="price_2"))
    settlement.settle(Ending(Outcome.COMPLETED, 200, TokenUsage(output=1)))
    entry = desk.entries[-1]
    assert isinstance(entry, Settled)
    assert entry.admitted == admitted("req_1", deployment="dep_2", sku="other", price_version="price_2")
    assert int(entry.grains) == 100 * GRAINS_PER_MICRO


def test_a_full_disk_refuses_admissions_and_keeps_settlements(desk: Desk) -> None:
    requests = [desk.admit("req_1"), desk.admit("req_2")]
    desk.slots.claim("req_3")
    with full_disk():
        with pytest.raises(JournalFull):
            desk.ledgered.admit(admitted("req_3"))
        for settlement in requests:
            settlement.settle(Ending(Outcome.COMPLETED, 200, USAGE))
        assert desk.ledgered.unwritten == 2
        assert desk.endings == []
        assert desk.slots.in_use == 3, "a slot is kept until its entry is written"
        desk.ledgered.flush()
        assert (desk.ledgered.unwritten, desk.rings) == (2, 0)
        desk.limiter.take("key_1", LIMITS, 1, 0.0)
    desk.ledgered.flush()
    assert desk.endings == ["req_1", "req_2"]
    assert (desk.ledgered.unwritten, desk.rings, desk.slots.in_use) == (0, 1, 1)
    desk.ledgered.flush()
    assert (desk.endings, desk.rings) == (["req_1", "req_2"], 1)
    assert len(desk.observed) == 2


def test_what_could_not_be_written_survives_in_its_slot(desk: Desk, tmp_path: Path) -> None:
    settlement = desk.admit("req_1")
    with full_disk():
        settlement.settle(Ending(Outcome.COMPLETED, 200, USAGE))
    (tmp_path / "copy").write_bytes((tmp_path / "slots").read_bytes())
    after_a_kill = Slots.open(tmp_path / "copy", 8)
    (state,) = after_a_kill.survivors()
    assert (state.request_id, state.uncached, state.cache_read, state.cache_write, state.output) == (
        "req_1",
        10,
        2,
        1,
        5,
    )
    after_a_kill.close()
    desk.ledgered.flush()


def test_what_is_written_is_rung_even_if_the_disk_fills_up_behind_it(desk: Desk, tmp_path: Path) -> None:
    first, second = desk.admit("req_1"), desk.admit("req_2")
    with full_disk():
        first.settle(Ending(Outcome.COMPLETED, 200, USAGE))
        second.settle(Ending(Outcome.COMPLETED, 200, USAGE, engine_request_id="x" * 5000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (desk.journal.end + 1000, before[1]))
    desk.ledgered.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (desk.endings, desk.ledgered.unwritten, desk.rings) == (["req_1"], 1, 1)
    desk.ledgered.flush()
    assert (desk.endings, desk.rings) == (["req_1", "req_2"], 2)


def test_a_journal_that_takes_no_more_never_stops_an_answer(desk: Desk) -> None:
    settlement = desk.admit("req_1")
    os.close(desk.journal._file)
    with pytest.raises(JournalUnavailable):
        desk.ledgered.admit(admitted("req_2"))
    settlement.settle(Ending(Outcome.COMPLETED, 200, USAGE))
    assert (desk.ledgered.unwritten, len(desk.observed), desk.slots.in_use) == (1, 1, 1)
    desk.journal._file = os.dup(desk.journal._directory_file)


class Faulty(Exception):
    """A fault in what only watches."""


def test_a_fault_in_what_only_watches_loses_no_settlement(journal: Journal, slots: Slots, clock: ManualClock) -> None:
    class Watcher(Desk):
        def settled(self, entry: Settled, grains: int) -> None:
            raise Faulty

    desk = Watcher(journal, slots, clock)
    settlement = desk.admit("req_1")
    with pytest.raises(Faulty):
        settlement.settle(Ending(Outcome.COMPLETED, 200, USAGE))
    assert (desk.endings, desk.rings, desk.slots.in_use) == (["req_1"], 1, 0)


@pytest.mark.parametrize(
    "entry",
    [
        admitted(),
        admitted(project="prj_1", stream=False, model="ü" * 128),
        settled(admitted()),
        settled(
            admitted(project="prj_1"), micro=2**70, rest=5, first_token_at=None, engine_request_id="é", degraded=True
        ),
        settled(admitted(), outcome=Outcome.INTERRUPTED, uncached=10**9, output=10**9, reasoning=7, waste_output=9),
    ],
)
def test_entries_are_read_as_they_were_written(entry: Admitted | Settled) -> None:
    assert decode(encode(entry)) == entry


def test_a_cost_beyond_64_bits_is_exact() -> None:
    entry = settled(admitted(), micro=2**61, rest=GRAINS_PER_MICRO - 1)
    record = entry.record(charged_micro=0, overrun_micro=0)
    assert (record.cost_micro, record.cost_rest_grains) == (2**61, GRAINS_PER_MICRO - 1)
    assert record.cost_grains == int(entry.grains)


def test_fields_that_a_later_version_adds_at_the_end_are_left_alone() -> None:
    fields: list[Any] = msgspec.msgpack.decode(encode(admitted()))
    assert decode(msgspec.msgpack.encode([*fields, "a later field"])) == admitted()


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\xc1", msgspec.msgpack.encode(["x", 1]), msgspec.msgpack.encode({})]
)
def test_bytes_that_nobody_wrote_are_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(payload)
