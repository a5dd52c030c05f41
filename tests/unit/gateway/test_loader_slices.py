"""The loader and slices: a part whose commit was not heard of is the same part when it is tried again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from surplus.gateway import service, store
from surplus.gateway.books import LocalBooks
from surplus.gateway.entries import Settled, encode
from surplus.gateway.jobs import Loader
from surplus.gateway.ports import HoldRequest, Load, Loaded
from surplus.gateway.service import JournalMoved
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, StoreUnavailable
from surplus.kit.journal import Journal
from surplus.ledger import service as ledger
from tests.unit.gateway.house import GATEWAY, TTL_S, House
from tests.unit.gateway.loading import escrow, granted, loader
from tests.unit.gateway.parts import NOW, admitted, settled

RICH = 1_000_000


class Unsteady(LocalBooks):
    """Books that fail to load, before it is done or after, as often as they are told to."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        super().__init__(database, clock)
        self.before = self.after = 0
        self.loads: list[Load] = []

    async def load(self, load: Load) -> Loaded:
        self.loads.append(load)
        if self.before:
            self.before -= 1
            raise StoreUnavailable("the database does not answer")
        result = await super().load(load)
        if self.after:
            self.after -= 1
            raise StoreUnavailable("the answer was lost on its way")
        return result


class Site:
    """A gateway without HTTP, whose requests hold their money in slices."""

    def __init__(self, house: House, journal: Journal, clock: ManualClock) -> None:
        self.house, self.journal = house, journal
        self.funds = escrow(house.database, clock)
        self.books = Unsteady(house.database, clock)
        self.loader: Loader = loader(journal, house.database, self.books, self.funds, clock)
        self.settled: list[Settled] = []

    async def request(self, number: int, micro: int) -> None:
        """A request from its hold to its settlement in the journal."""
        name = f"req_{number}"
        grant = await self.funds.hold(HoldRequest(name, "org_1", (), 10, NOW, NOW + TTL_S))
        entry = settled(admitted(name, slice=grant.slice, held_micro=grant.micro), micro=micro)
        self.journal.append(encode(entry.admitted))
        self.journal.append(encode(entry))
        self.funds.settled(entry, int(entry.grains))
        self.settled.append(entry)
        self.journal.sync()

    async def load(self) -> None:
        while await self.loader.load_batch():
            pass
        await self.funds.settle_releases()

    def check(self) -> None:
        self.house.check(self.settled)
        assert [record.overrun_micro for record in self.house.records()] == [0] * len(self.settled)
        assert (granted(self.funds), self.house.held(), self.loader.lag_bytes) == ({}, [], 0)
        for one in self.house.database.read_now(ledger.slices_of, GATEWAY):
            assert one.amount == self.funds._by_id[one.id].amount


@pytest.fixture
def site(database: Database, tmp_path: Path, clock: ManualClock) -> Iterator[Site]:
    journal = Journal.open(tmp_path / "journal")
    yield Site(House(database, RICH), journal, clock)
    journal.close()


@pytest.mark.parametrize("failure", ["before", "after"])
async def test_what_comes_behind_a_part_that_may_be_loaded_waits_for_it(site: Site, failure: str) -> None:
    await site.request(1, 4)
    setattr(site.books, failure, 2)
    for number in (2, 3):
        with pytest.raises(StoreUnavailable):
            await site.loader.load_batch()
        await site.request(number, 4)
    await site.load()
    parts = [(load.since, load.position) for load in site.books.loads]
    assert parts[0] == parts[1] == parts[2]
    assert parts[3][0] == parts[0][1]
    site.check()


async def test_a_part_that_was_loaded_and_not_heard_of_charges_once(site: Site) -> None:
    await site.request(1, 4)
    site.books.after = 1
    with pytest.raises(StoreUnavailable):
        await site.loader.load_batch()
    assert site.house.balance().debits == 4
    await site.load()
    assert site.house.balance().debits == 4
    site.check()


@pytest.mark.parametrize("failure", ["before", "after"])
async def test_a_draw_that_was_not_heard_of_is_given_back(site: Site, failure: str) -> None:
    """The slice is filled up with the load that fails; what that drew, if anything, is not left lying idle."""
    for number in range(10):
        await site.request(number, 10)
    setattr(site.books, failure, 1)
    with pytest.raises(StoreUnavailable):
        await site.loader.load_batch()
    (draw,) = site.books.loads[0].draws
    await site.load()
    assert draw.want_micro > 0
    site.check()


async def test_a_failure_to_tell_what_is_granted_keeps_nothing_from_being_loaded(site: Site) -> None:
    """There was no part of the journal in it, so there is none to try again first."""
    await site.funds.hold(HoldRequest("req_0", "org_1", (), RICH, NOW, NOW + TTL_S))  # not from a slice
    site.books.before = 1
    with pytest.raises(StoreUnavailable):
        await site.loader.load_batch()
    entry = settled(admitted("req_0"), micro=7)
    for one in (entry.admitted, entry):
        site.journal.append(encode(one))
    site.settled.append(entry)
    site.journal.sync()
    await site.load()
    site.check()


async def test_a_journal_that_another_server_loads_is_not_loaded_here(site: Site) -> None:
    await site.request(1, 4)
    load = Load(GATEWAY, (), 0, 9999, 9999)
    site.house.database.write_now(service.load, load, now=NOW)
    for _ in range(2):
        with pytest.raises(JournalMoved):
            await site.loader.load_batch()
    assert site.house.records() == []
    assert site.house.database.read_now(store.progress, GATEWAY) == store.Progress(9999, 9999)
    assert site.funds._asking == {}, "nobody waits for what will never come"
