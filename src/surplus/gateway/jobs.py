"""The loader: moves the journal into the database, in batches, as it grows; and puts things right after a crash."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from surplus.billing import service as billing
from surplus.gateway import store
from surplus.gateway.entries import Admitted, Settled, decode, encode
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.ports import Books, Load
from surplus.kit.clock import Clock
from surplus.kit.db import Database
from surplus.kit.errors import SurplusError
from surplus.kit.journal import Journal, JournalCorrupt, Record, Slots, SlotState
from surplus.ledger import service as ledger
from surplus.ledger.commands import ReturnSlice, VoidHold
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage

log: Final = logging.getLogger(__name__)

BATCH_MAX: Final = 500
RETRY_S: Final = 1.0
PUBLISH_S: Final = 0.25
"""How old the figures of what slices have granted can be in the database."""
ORPHANS_MAX: Final = 100_000
INTERRUPTED_STATUS: Final = 500


class Loader:
    """Loads one gateway's journal. `ring` wakes it; it gathers for `gather_s` seconds before each batch."""

    def __init__(
        self,
        *,
        gateway: str,
        database: Database,
        books: Books,
        funds: EscrowFunds,
        journal: Journal,
        clock: Clock,
        gather_s: float,
    ) -> None:
        self._gateway = gateway
        self._database = database
        self._books = books
        self._funds = funds
        self._journal = journal
        self._clock = clock
        self._gather_s = gather_s
        self._wake = asyncio.Event()
        self._open: dict[str, int] = {}
        self._progress = store.Progress(0, 0)
        self._again: int | None = None
        self.stopping = False

    def ring(self) -> None:
        """There is something to load."""
        self._wake.set()

    @property
    def lag_bytes(self) -> int:
        """How much of the journal is not in the database yet."""
        return self._journal.end - self._progress.position

    async def run(self) -> None:
        """Load until `stopping` is set, and then to the end. A store that fails is tried again; nothing is skipped."""
        while True:
            with suppress(TimeoutError):  # what is granted changes without an entry of the journal
                async with asyncio.timeout(PUBLISH_S):
                    await self._wake.wait()
            if self._wake.is_set() and not self.stopping:
                await asyncio.sleep(self._gather_s)
            self._wake.clear()
            try:
                while await self.load_batch():
                    pass
            except SurplusError as error:
                fields = {"why": error.message, "lag_bytes": self.lag_bytes}
                log.warning("the journal could not be loaded; it is kept and tried again", extra={"fields": fields})
                await asyncio.sleep(RETRY_S)
                self._wake.set()
                continue
            if self.stopping and not self.lag_bytes:
                return

    async def stop(self) -> None:
        """Have `run` load what is left and end."""
        await asyncio.to_thread(self._journal.sync)
        self.stopping = True
        self._wake.set()

    async def load_batch(self) -> int:
        """Load the next entries, and tell what is granted; returns how many entries there were."""
        since = self._progress.position
        until = self._journal.durable if self._again is None else self._again
        records = self._journal.read(since, max_records=BATCH_MAX, until=until)
        if not records and not self._funds.changed:
            return 0
        opened = dict(self._open)
        settled = tuple(_walk(records, since, opened))
        end = records[-1].end if records else since
        progress = store.Progress(end, min(opened.values(), default=end))
        await self._load(settled, progress)
        self._open, self._progress = opened, progress
        self._journal.discard(progress.open_from)
        return len(records)

    async def _load(self, settled: tuple[Settled, ...], progress: store.Progress) -> None:
        draws, granted = await self._funds.plan(settled)
        since, position = self._progress.position, progress.position
        load = Load(self._gateway, settled, since, position, progress.open_from, draws, granted)
        # it may be done and not heard of: only the same part again can be recognised
        self._again = position if position > since else None
        loaded = False
        try:
            result = await self._books.load(load)
            loaded = True
        finally:
            if not loaded:
                self._funds.not_loaded(draws, granted)
        self._again = None
        self._funds.loaded(settled, draws, result)

    async def recover(self, slots: Slots) -> int:
        """After a start: settle what was in flight when the last process ended; returns how many requests that were.

        Settled requests are exact. An interrupted one is charged by the last figures in its in-flight slot, and never
        for less than was delivered. Holds without a request are given back.
        """
        self._progress = await self._database.read(store.progress, self._gateway)
        in_flight = {state.request_id: state for state in slots.survivors()}
        admitted = await self._unsettled()
        for entry in admitted.values():
            self._journal.append(encode(await self._interrupted(entry, in_flight.get(entry.request))))
        await asyncio.to_thread(self._journal.sync)
        while await self.load_batch():
            pass
        slots.clear()
        orphans = await self._give_back()
        if admitted or orphans:
            fields = {"interrupted": len(admitted), "orphaned_holds": orphans}
            log.warning("the last run ended with requests in flight; they are settled", extra={"fields": fields})
        return len(admitted)

    async def _give_back(self) -> int:
        """End the slices and holds that no request stands for any more; returns how many holds there were."""
        for one in await self._database.read(ledger.slices_of, self._gateway):
            await self._books.apply(ReturnSlice(one.id, 0))
        prefix = f"{self._gateway}/"
        orphans = await self._database.read(ledger.active_holds, ref_prefix=prefix, limit=ORPHANS_MAX)
        for hold in orphans:
            await self._books.apply(VoidHold(hold.id, "its gateway ended before it was admitted"))
        return len(orphans)

    async def _unsettled(self) -> dict[str, Admitted]:
        """Requests that were admitted and never settled; also finds which of them were open at the loaded position."""
        admitted: dict[str, Admitted] = {}
        position = max(self._progress.open_from, self._journal.start)
        while records := self._journal.read(position, max_records=BATCH_MAX):
            for record in records:
                entry = _entry(record)
                if isinstance(entry, Admitted):
                    admitted[entry.request] = entry
                    if record.end <= self._progress.position:
                        self._open[entry.request] = position
                else:
                    admitted.pop(entry.admitted.request, None)
                    if record.end <= self._progress.position:
                        self._open.pop(entry.admitted.request, None)
                position = record.end
        return admitted

    async def _interrupted(self, entry: Admitted, state: SlotState | None) -> Settled:
        usage = TokenUsage()
        if state is not None:
            usage = TokenUsage(state.uncached, state.cache_read, state.cache_write, state.output)
        sheet = await self._database.read(billing.price_sheet, entry.sku, entry.price_version)
        return Settled(
            admitted=entry,
            outcome=Outcome.INTERRUPTED,
            status=INTERRUPTED_STATUS,
            uncached=usage.uncached,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            output=usage.output,
            reasoning=0,
            waste_output=0,
            grains=str(sheet.grains(usage)),
            degraded=True,
            first_token_at=None,
            ended_at=self._clock.now(),
            engine_request_id=None,
        )


def _entry(record: Record) -> Admitted | Settled:
    try:
        return decode(record.payload)
    except msgspec.DecodeError as error:
        message = (
            f"the journal record that ends at {record.end} was not written by this version or an earlier one; "
            "start the version that wrote it, let it stop cleanly, then upgrade"
        )
        raise JournalCorrupt(message) from error


def _walk(records: Sequence[Record], position: int, opened: dict[str, int]) -> list[Settled]:
    """The settlements among the records; `opened` (request to the position of its admission) is brought up to date."""
    settled: list[Settled] = []
    for record in records:
        entry = _entry(record)
        if isinstance(entry, Admitted):
            opened[entry.request] = position
        else:
            opened.pop(entry.admitted.request, None)
            settled.append(entry)
        position = record.end
    return settled


class Fsync:
    """Brings the journal to disk while it grows, then rings the loader, which takes nothing that could still be lost.

    Entries gather for `every_s` seconds before each sync: the most that a power cut can cost.
    """

    def __init__(self, journal: Journal, loader: Loader, every_s: float) -> None:
        self._journal = journal
        self._loader = loader
        self._every_s = every_s
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """There is something to bring to disk."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._every_s)
            self._wake.clear()
            await asyncio.to_thread(self._journal.sync)
            self._loader.ring()
