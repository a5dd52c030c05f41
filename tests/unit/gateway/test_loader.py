"""The loader: whenever it stops, what it goes on with is loaded exactly once and nothing is skipped."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from surplus.gateway import jobs, store
from surplus.gateway.books import LocalBooks
from surplus.gateway.entries import Admitted, Settled, encode
from surplus.gateway.jobs import Fsync, Loader
from surplus.gateway.ports import Load, Loaded
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, StoreUnavailable, metadata
from surplus.kit.journal import Journal, JournalCorrupt, JournalDiscarded, Slots
from surplus.metering.model import Outcome
from tests.unit.gateway import loading
from tests.unit.gateway.house import GATEWAY, House, drop
from tests.unit.gateway.parts import admitted, settled

SEGMENT = 300


class Site:
    """A journal that is loaded by one process after another."""

    def __init__(self, house: House, directory: Path, clock: ManualClock) -> None:
        self.house, self.clock = house, clock
        self.segment_bytes = SEGMENT
        self._directory = directory
        self.written: list[Admitted | Settled] = []
        self.reopen()

    def reopen(self) -> None:
        """As after a restart."""
        self.journal = Journal.open(self._directory / "journal", segment_bytes=self.segment_bytes)
        self.slots = Slots.open(self._directory / "slots", 8)

    def close(self) -> None:
        self.slots.close()
        self.journal.close()

    def loader(self) -> Loader:
        return loading.loader(self.journal, self.house.database, None, None, self.clock)

    async def restart(self) -> tuple[Loader, int]:
        """The next process: opens what is on disk, and recovers. Returns how many requests were interrupted."""
        self.close()
        self.reopen()
        loader = self.loader()
        return loader, await loader.recover(self.slots)

    def write(self, *entries: Admitted | Settled) -> None:
        for entry in entries:
            self.journal.append(encode(entry))
            self.written.append(entry)
        self.journal.sync()

    def request(self, number: int, micro: int = 10) -> tuple[Admitted, Settled]:
        entry = admitted(f"req_{number}")
        self.house.hold(entry.request, micro)
        return entry, settled(entry, micro=micro)

    @property
    def settled(self) -> list[Settled]:
        return [entry for entry in self.written if isinstance(entry, Settled)]

    def check(self) -> None:
        """Everything that was written is in the books once."""
        self.house.check(self.settled)
        requests = {entry.request for entry in self.written if isinstance(entry, Admitted)}
        assert {record.id for record in self.house.records()} == requests
        assert self.house.held() == []
        assert all(record.charged_micro == record.cost_micro for record in self.house.records())


@pytest.fixture
def site(database: Database, tmp_path: Path, clock: ManualClock) -> Iterator[Site]:
    house = House(database)
    house.publish()
    site = Site(house, tmp_path, clock)
    yield site
    site.close()


def story(site: Site) -> list[Admitted | Settled]:
    """Six requests that overlap, as twelve entries."""
    pairs = [site.request(number) for number in range(6)]
    order = [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0), (3, 1), (1, 1), (4, 0), (5, 0), (5, 1), (4, 1), (2, 1)]
    return [pairs[number][part] for number, part in order]


@pytest.mark.parametrize("boundary", range(13))
async def test_a_stop_at_any_boundary_loads_everything_once(site: Site, boundary: int) -> None:
    """The first process loads what it wrote before the boundary; the second finds the rest on disk."""
    first = site.loader()
    await first.recover(site.slots)
    entries = story(site)
    site.write(*entries[:boundary])
    while await first.load_batch():
        pass
    site.write(*entries[boundary:])
    loader, interrupted = await site.restart()
    assert (interrupted, loader.lag_bytes) == (0, 0)
    site.check()
    before = site.house.dump()
    assert (await site.restart())[1] == 0
    assert site.house.dump() == before


async def test_a_stop_after_every_entry_loads_everything_once(site: Site) -> None:
    for entry in story(site):
        loader = site.loader()
        loader._progress = site.house.database.read_now(store.progress, GATEWAY)
        await loader._unsettled()
        site.write(entry)
        assert await loader.load_batch() == 1
    assert len(site.house.records()) == 6
    site.check()


class Unheard(LocalBooks):
    """Books whose first load is done and not heard of."""

    answers = False

    async def load(self, load: Load) -> Loaded:
        done = await super().load(load)
        if not self.answers:
            self.answers = True
            raise StoreUnavailable("the answer was lost on its way")
        return done


async def test_a_batch_that_was_committed_and_not_heard_of_is_loaded_again_without_effect(site: Site) -> None:
    site.segment_bytes = 2**20
    await site.restart()
    entries = story(site)
    site.write(*entries)
    loader = loading.loader(
        site.journal, site.house.database, Unheard(site.house.database, site.clock), None, site.clock
    )
    with pytest.raises(StoreUnavailable):
        await loader.load_batch()
    before = site.house.dump()
    assert await loader.load_batch() == len(entries)
    assert site.house.dump() == before
    assert await loader.load_batch() == 0
    site.check()


async def test_a_position_that_was_lost_is_found_again_by_loading_everything_again(site: Site) -> None:
    site.segment_bytes = 2**20
    await site.restart()
    site.write(*story(site))
    await site.restart()
    before = site.house.dump()
    site.house.database.write_now(drop, "gateway_journal")
    assert (await site.restart())[1] == 0
    assert site.house.dump() == before


async def test_a_position_before_what_is_kept_is_refused_not_guessed(site: Site) -> None:
    site.write(*story(site))
    await site.restart()
    assert site.journal.start > 0
    site.house.database.write_now(drop, "gateway_journal")
    before = site.house.dump()
    with pytest.raises(JournalDiscarded):
        await site.restart()
    assert site.house.dump() == before


async def test_a_position_that_fell_back_catches_up(site: Site) -> None:
    site.segment_bytes = 2**20
    loader, _ = await site.restart()
    entries = story(site)
    site.write(*entries[:6])
    await loader.load_batch()
    old = site.house.database.read_now(store.progress, GATEWAY)
    assert old.open_from < old.position
    site.write(*entries[6:])
    await loader.load_batch()
    before = site.house.dump()
    site.house.database.write_now(store.set_progress, GATEWAY, old)
    assert (await site.restart())[1] == 0
    assert site.house.dump() == before
    site.check()


async def test_a_journal_that_was_replaced_is_not_taken_for_the_one_that_was_loaded(site: Site) -> None:
    site.write(*story(site))
    await site.restart()
    site.close()
    for path in (site._directory / "journal").glob("*.journal"):
        path.unlink()
    site.reopen()
    with pytest.raises(JournalCorrupt):
        await site.loader().recover(site.slots)


async def test_what_an_open_request_needs_is_kept_and_the_rest_discarded(site: Site) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    long, ending = site.request(100)
    site.write(*site.request(0))
    site.write(long)
    await loader.load_batch()
    kept = site.journal.start
    for number in range(1, 30):
        site.write(*site.request(number))
        await loader.load_batch()
    progress = site.house.database.read_now(store.progress, GATEWAY)
    assert progress.open_from < progress.position
    assert site.journal.start == kept < SEGMENT
    site.write(ending)
    await loader.load_batch()
    assert site.journal.start > 20 * SEGMENT
    site.check()


async def test_a_request_that_was_open_at_the_position_is_interrupted_only_if_it_is_open_still(site: Site) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    open_one, _ = site.request(100)
    ended, ending = site.request(101)
    site.write(open_one, ended)
    await loader.load_batch()
    site.write(*site.request(0), ending)
    _, interrupted = await site.restart()
    assert interrupted == 1
    assert site.house.record("req_100").outcome is Outcome.INTERRUPTED
    assert site.house.record("req_101").outcome is Outcome.COMPLETED
    site.check()


async def test_nothing_is_loaded_that_a_power_cut_could_take_back(site: Site) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    for entry in site.request(0):
        site.journal.append(encode(entry))
    assert await loader.load_batch() == 0
    assert loader.lag_bytes == site.journal.end
    site.journal.sync()
    assert await loader.load_batch() == 2
    assert loader.lag_bytes == 0


async def test_a_large_journal_is_loaded_in_batches(site: Site) -> None:
    for number in range(40):
        site.write(*site.request(number, micro=1))
    position, counts, loader = 0, [], site.loader()
    while count := await loader.load_batch():
        counts.append(count)
        assert loader._progress.position > position
        position = loader._progress.position
    assert sum(counts) == 80
    assert max(counts) <= jobs.BATCH_MAX
    site.check()


@asynccontextmanager
async def running(loader: Loader, *more: Any) -> AsyncIterator[asyncio.Task[None]]:
    tasks = [asyncio.create_task(job.run()) for job in (loader, *more)]
    try:
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the database's thread does it
            await asyncio.sleep(0.002)


async def test_what_is_appended_is_synced_rung_for_and_loaded(site: Site) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    fsync = Fsync(site.journal, loader, 0.0)
    async with running(loader, fsync):
        for number in range(3):
            for entry in site.request(number):
                site.journal.append(encode(entry))
                site.written.append(entry)
            fsync.ring()
            await until(lambda: not loader.lag_bytes)
    site.check()


async def test_a_loader_that_is_told_to_stop_loads_what_is_left_and_ends(site: Site) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    async with running(loader) as task:
        for entry in story(site):
            site.journal.append(encode(entry))
            site.written.append(entry)
        await loader.stop()
        async with asyncio.timeout(10):
            await task
    assert loader.lag_bytes == 0
    site.check()


async def test_a_database_that_fails_is_tried_again_and_nothing_is_skipped(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    database = site.house.database
    database.migrate(metadata.tables["gateway_journal"].drop)
    site.write(*story(site))
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await loader.load_batch()
        assert loader.lag_bytes == site.journal.end
        assert site.house.records() == []
    async with running(loader):
        loader.ring()
        await until(lambda: "tried again" in caplog.text)
        database.migrate(metadata.tables["gateway_journal"].create)
        await until(lambda: not loader.lag_bytes)
    site.check()


async def test_bytes_that_no_version_wrote_stop_the_loader_before_them(site: Site) -> None:
    loader = site.loader()
    await loader.recover(site.slots)
    site.write(*site.request(0))
    assert await loader.load_batch() == 2
    site.journal.append(b"\xc1")
    site.write(*site.request(1))
    for _ in range(2):
        with pytest.raises(JournalCorrupt):
            await loader.load_batch()
        assert [record.id for record in site.house.records()] == ["req_0"]
