"""A data directory as a killed server leaves it: some requests loaded, some in the journal alone, one in flight."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from surplus import bootstrap
from surplus.app import organizations, prices
from surplus.billing.rating import PriceSheet, TokenClass
from surplus.gateway import service as loading
from surplus.gateway import store
from surplus.gateway.entries import Admitted, Settled, decode, encode
from surplus.gateway.ports import Load
from surplus.identity.model import Organization
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.kit.journal import Journal, Slots
from surplus.ledger import service as ledger
from surplus.ledger.commands import PlaceHold
from surplus.ledger.model import AccountKind, Placed, Scope
from surplus.metering.model import Outcome

GATEWAY = "gw_1"
NOW = 1_795_251_600.0
DOLLARS = {TokenClass.INPUT: "2.00", TokenClass.OUTPUT: "8.00"}


@dataclass
class Shop:
    """A server's data directory without a server, and the requests of one customer in it."""

    data: Path
    database: Database
    journal: Journal
    slots: Slots
    org: Organization
    sheet: PriceSheet
    clock: ManualClock
    closed: bool = False

    def admit(self, request: str) -> Admitted:
        """Hold money for a request and write it down."""
        wallet = Scope(f"wallet:{self.org.id}", AccountKind.WALLET, 0)
        hold = PlaceHold(request, wallet, (), 1000, NOW + 600, f"{GATEWAY}/{request}")
        (placed,) = self.database.write_now(ledger.apply, [hold], now=self.clock.now())
        assert isinstance(placed, Placed)
        sku, version = self.sheet.sku, self.sheet.version
        admitted = Admitted(request, self.org.id, None, "key_1", sku, "dep_1", sku, version, "chat", False, NOW)
        self.journal.append(encode(admitted))
        return admitted

    def settle(self, request: str, output: int = 10) -> None:
        """One whole request, in the journal."""
        entry = settled(self.admit(request), output)
        self.journal.append(encode(entry))

    def load(self) -> None:
        """Bring the journal into the database, as the loader does."""
        since = position = self.database.read_now(store.progress, GATEWAY).position
        done: list[Settled] = []
        while records := self.journal.read(position):
            entries = [decode(record.payload) for record in records]
            done += [entry for entry in entries if isinstance(entry, Settled)]
            position = records[-1].end
        end = self.journal.end
        load = Load(GATEWAY, tuple(done), since, end, end)
        self.database.write_now(loading.load, load, now=self.clock.now())
        self.journal.discard(end)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.journal.close()
        self.slots.close()
        self.database.close()


def settled(admitted: Admitted, output: int) -> Settled:
    """As the gateway writes it when an answer has ended."""
    grains = 8_000_000 * output * 9_000_000
    return Settled(
        admitted=admitted, outcome=Outcome.COMPLETED, status=200, uncached=0, cache_read=0, cache_write=0,
        output=output, reasoning=0, waste_output=0, grains=str(grains), degraded=False, first_token_at=NOW,
        ended_at=NOW + 1, engine_request_id=None,
    )  # fmt: skip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def shop(tmp_path: Path, clock: ManualClock) -> Iterator[Shop]:
    """Two requests in the database, two settled in the journal alone, one in flight."""
    made = furnished(tmp_path / "data", "", clock)
    yield made
    made.close()


def furnished(data: Path, url: str, clock: ManualClock) -> Shop:
    """The same, in the database at `url`, else in a file."""
    ids = CountedIds()
    database = bootstrap.open_store(data, url)
    bootstrap.ensure_operator(database, ids, data, NOW)
    (data / bootstrap.SETTINGS_FILE).write_text("[server]\nport = 0\n")
    (data / bootstrap.JOURNAL).mkdir()
    assert bootstrap.gateway_name(data / bootstrap.JOURNAL, CountedIds()) == GATEWAY
    org = database.write_now(organizations.create, ids, "acme", credit_micro=10_000_000, now=NOW)
    sheet = database.write_now(prices.publish, ids, "tiny", DOLLARS, effective_from=None, now=NOW, force=False)
    journal = Journal.open(data / bootstrap.JOURNAL, segment_bytes=4096)
    made = Shop(data, database, journal, Slots.open(data / bootstrap.JOURNAL / "slots", 4), org, sheet, clock)
    for request in ("req_1", "req_2"):
        made.settle(request)
    made.load()
    for request in ("req_3", "req_4"):
        made.settle(request)
    made.admit("req_5")
    slot = made.slots.claim("req_5")
    slot.update(uncached=0, cache_read=0, cache_write=0, output=7, delivered_bytes=70, delivered_events=7)
    return made


def tamper(data: Path, statement: str) -> None:
    """Change the database behind the server's back."""
    with closing(sqlite3.connect(data / bootstrap.DATABASE)) as connection:
        connection.execute(statement)
        connection.commit()
