"""The whole data plane on engines that misbehave when told to, with everything that a request may take in view."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from surplus.billing.rating import PriceSheet
from surplus.gateway import path as paths
from surplus.gateway.access import Access, Caller
from surplus.gateway.admission import Admission, Admitting, Offer
from surplus.gateway.body import Body
from surplus.gateway.books import LocalBooks
from surplus.gateway.client import Client
from surplus.gateway.dispatch import Dispatcher, Patience
from surplus.gateway.endpoints import ENDPOINTS, Endpoint
from surplus.gateway.entries import Admitted, Settled, decode
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.limits import Limiter
from surplus.gateway.metrics import Metrics
from surplus.gateway.settlement import Settlement
from surplus.gateway.tariffs import Tariffs
from surplus.gateway.tokenizer import Tokenizer
from surplus.gateway.tracing import Tracer
from surplus.identity import service as identity
from surplus.identity.model import Limits
from surplus.kit.clock import ManualClock, SystemClock
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.kit.journal import Journal, Slots
from surplus.kit.journal.reading import Record
from surplus.ledger.commands import OpenAccount, Transfer
from surplus.ledger.model import AccountKind
from surplus.serving.model import EngineKind
from surplus.serving.replicas import Replica
from tests.contract.engine_server import until
from tests.engines.pools import running
from tests.unit.gateway.callers import Wire
from tests.unit.gateway.house import GATEWAY, House
from tests.unit.gateway.loading import granted, ledgered, loader
from tests.unit.gateway.parts import NOW, admitted, deployment, dollars
from tests.upstream import FaultyUpstream

CHAT, TEXT, EMBED = (ENDPOINTS[path] for path in ("/chat/completions", "/completions", "/embeddings"))
SLOTS: Final = 4
LIMITS: Final = Limits(rpm=10_000, tpm=10_000_000, concurrency=100)
IMPATIENT: Final = Patience(
    attempts=3, pause_s=0.0, pause_max_s=0.0, connect_s=5.0, first_event_s=5.0, idle_s=5.0, request_s=10.0, drain_s=5.0
)


Cast = tuple["Stage", list[FaultyUpstream]]
Opener = Callable[..., Awaitable[Cast]]
"""Opens a stage with these engines, as `staged` does, until the end of the test."""


class Stage:
    """Engines behind one model "tiny" at the prices of `parts.dollars`, and one caller with a key and money."""

    def __init__(self, directory: Path, database: Database, pool: Any, upstream: Any, patience: Patience) -> None:
        self.database, self.pool = database, pool
        self.clock, at = SystemClock(), ManualClock(NOW)
        self.journal = Journal.open(directory / "journal")
        self.slots = Slots.open(directory / "slots", SLOTS)
        books = LocalBooks(database, at)
        self.funds = EscrowFunds(books, at, CountedIds(), GATEWAY)
        self.loader = loader(self.journal, database, books, self.funds, at)
        self.metrics = Metrics(CollectorRegistry())
        self.ledgered = ledgered(self.journal, self.loader.ring, self.funds, self.metrics)
        self.limiter, self.tariffs = Limiter(), Tariffs(database)
        self.tokenizer = Tokenizer(pool, upstream)
        self.house = House(database)
        self.dispatcher = Dispatcher(clock=self.clock, pool=pool, upstream=upstream, patience=patience, tracer=Tracer())
        self.admitting = Admitting(
            clock=at,
            pool=pool,
            tariffs=self.tariffs,
            limiter=self.limiter,
            funds=self.funds,
            ledgered=self.ledgered,
            slots=self.slots,
            tokenizer=self.tokenizer,
            request_timeout_s=patience.request_s,
        )
        self.path = paths.Path(
            clock=at,
            ids=CountedIds(),
            access=Access(database, at),
            limiter=self.limiter,
            admitting=self.admitting,
            dispatcher=self.dispatcher,
            tokenizer=self.tokenizer,
            tracer=Tracer(),
            metrics=self.metrics,
            max_body_bytes=1_000_000,
            closed=lambda: None,
            keepalive_s=60.0,
        )
        self._ids = CountedIds()
        assert database.write_now(identity.create_organization, self._ids, "acme", now=NOW).id == "org_1"
        self.limit(LIMITS)
        self.tariffs.replace([dollars()])

    def price(self, *sheets: PriceSheet) -> None:
        self.tariffs.replace(sheets)

    def limit(self, limits: Limits) -> None:
        """Give the caller a new key, with these limits."""
        secret = self.database.write_now(identity.create_key, self._ids, org="org_1", limits=limits, now=NOW)
        self.caller, self.token = Caller(secret.key, ()), secret.token

    def drain_wallet(self, left: int) -> None:
        """Take all money but this out of the wallet."""
        available = self.house.balance().available
        assert available is not None
        self.house.do(
            OpenAccount("sink", "adjustment", AccountKind.ADJUSTMENT, None),
            Transfer("drain", "wallet:org_1", "adjustment", available - left, "test", "", NOW),
        )

    def admission(self, body: Body, endpoint: Endpoint = CHAT, request: str = "req_1") -> Admission:
        """An admitted request for dispatch alone; no money is held for it."""
        found = self.pool.deployments(body.model)
        sheets = [(one, self.tariffs.in_force(one.sku, NOW)) for one in found]
        offers = [Offer(one, sheet) for one, sheet in sheets if sheet is not None]
        entry = admitted(request, deployment=offers[0].deployment.id, endpoint=endpoint.name)
        slot = self.slots.claim(request)
        settlement = Settlement(entry, offers[0].sheet, lease=None, slot=slot, clock=self.clock, ledgered=self.ledgered)
        return Admission(request, endpoint, self.caller, body, endpoint.bounds(body), offers, settlement)

    def replica(self, name: str) -> Replica:
        """The one replica of a deployment."""
        (found,) = [one for one in self.pool.replicas() if one.deployment.id == name]
        return found

    def call(self, wire: Wire, endpoint: Endpoint = CHAT) -> "asyncio.Task[None]":
        """The server's task for one request."""

        async def serve() -> None:
            client: Client = wire.client()
            await self.path.serve(client, endpoint)

        return asyncio.create_task(serve())

    def wire(self, **fields: Any) -> Wire:
        """A caller with the key who asks this of the model "tiny"."""
        fields = {"model": "tiny", "messages": [{"role": "user", "content": "hello there"}], **fields}
        return Wire(json.dumps(fields).encode(), headers={"authorization": f"Bearer {self.token}"})

    async def ask(self, **fields: Any) -> Wire:
        """One request from beginning to end."""
        wire = self.wire(**fields)
        async with asyncio.timeout(15):
            await self.call(wire)
        return wire

    @property
    def entries(self) -> list[Admitted | Settled]:
        found: list[Record] = []
        while more := self.journal.read(found[-1].end if found else self.journal.start):
            found += more
        return [decode(record.payload) for record in found]

    @property
    def endings(self) -> list[Settled]:
        return [entry for entry in self.entries if isinstance(entry, Settled)]

    async def settled(self) -> list[Settled]:
        """The endings, once everything that outlives its request is over, and after a look at what must be free."""
        await self.path.finish()
        await self.funds.settle_releases()
        begun = [entry.request for entry in self.entries if isinstance(entry, Admitted)]
        assert [entry.admitted.request for entry in self.endings] == begun
        assert self.slots.in_use == 0
        assert all(replica.in_flight == 0 for replica in self.pool.replicas())
        assert all(not usage.running for usage in self.limiter._keys.values())
        self.journal.sync()
        while await self.loader.load_batch():
            pass
        assert (self.house.held(), granted(self.funds)) == ([], {})
        self.house.check(self.endings)
        return self.endings

    def close(self) -> None:
        self.slots.close()
        self.journal.close()


@asynccontextmanager
async def staged(
    directory: Path, database: Database, *engines: Any, patience: Patience = IMPATIENT
) -> AsyncIterator[Cast]:
    """A stage with one deployment for each engine: its kind, or its kind with other fields of a deployment.

    They are `dep_0`, `dep_1` and so on, each a fallback of those before it unless it says otherwise.
    """
    async with AsyncExitStack() as stack:
        servers: list[FaultyUpstream] = []
        wanted: list[Any] = []
        for number, engine in enumerate(engines):
            kind, changes = engine if isinstance(engine, tuple) else (engine, {})
            servers.append(
                await stack.enter_async_context(FaultyUpstream(f"engine-{number}", models=("tiny-upstream",)))
            )
            where = {"id": f"dep_{number}", "url": servers[-1].url, "priority": number, "embeddings": True, **changes}
            wanted.append(deployment(EngineKind(kind), **where))
        pool, upstream = await stack.enter_async_context(running())  # it ends first, so that nobody calls at the end
        await pool.apply(wanted)
        await until(lambda: len(pool.candidates("tiny")) == len(engines))
        stage = Stage(directory, database, pool, upstream, patience)
        stack.callback(stage.close)
        yield stage, servers
