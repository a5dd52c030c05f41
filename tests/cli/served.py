"""A control plane on a real port of this machine, in a thread, over a real database."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from surplus.api.app import ApiDeps, create_api
from surplus.billing import service as billing
from surplus.gateway import service as gateway
from surplus.gateway import store as gateway_store
from surplus.gateway.access import Access
from surplus.gateway.books import LocalBooks
from surplus.gateway.entries import Admitted, Settled
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.ports import Load
from surplus.gateway.refresh import Refresh
from surplus.gateway.standing import Standing
from surplus.gateway.tariffs import Tariffs
from surplus.identity import service as identity
from surplus.kit.clock import SystemClock
from surplus.kit.db import Database, WriteSession, metadata
from surplus.kit.ids import Ids, RandomIds
from surplus.ledger import service as ledger
from surplus.ledger.commands import PlaceHold
from surplus.ledger.model import AccountKind, Placed, Scope
from surplus.metering import service as metering
from surplus.metering.model import Outcome
from surplus.metering.usage import TokenUsage
from surplus.serving.engines.factory import Engines
from surplus.serving.replicas import Pool
from surplus.serving.upstream_http import HttpUpstream

STARTED_S = 20


@dataclass
class Served:
    """Where the control plane listens, the operator's token, and the database behind it."""

    url: str
    token: str
    database: Database
    clock: SystemClock
    ids: Ids

    def use(self, org: str, key: str, sku: str, usage: TokenUsage) -> str:
        """Have a request of this organization settled, as the gateway does; returns its id."""
        request = self.ids.new("req")
        self.database.write_now(_settle, request, org, key, sku, usage=usage, now=self.clock.now())
        return request


@contextmanager
def serve(directory: Path) -> Iterator[Served]:
    """Serve an empty world until the block ends."""
    clock = SystemClock()
    ids = RandomIds(clock)
    database = Database(directory / "surplus.db")
    database.migrate(metadata.create_all)
    operator = database.write_now(identity.ensure_operator_key, ids, now=clock.now())
    assert operator is not None
    with socket.create_server(("127.0.0.1", 0)) as sock:
        http = uvicorn.Server(uvicorn.Config("", lifespan="off", log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=asyncio.run, args=(_run(http, sock, database, clock, ids),))
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}", operator.token, database, clock, ids)
        finally:
            http.should_exit = True
            thread.join(STARTED_S)
            database.close()
    assert not thread.is_alive()


async def _run(http: uvicorn.Server, sock: socket.socket, database: Database, clock: SystemClock, ids: Ids) -> None:
    upstream = HttpUpstream()
    engines = Engines(upstream=upstream, ids=ids, environment={})
    pool = Pool(engines, ids=ids, clock=clock, jitter=lambda: 0.5)
    replicas = asyncio.create_task(pool.run())
    http.config.app = _app(database, clock, ids, pool)
    try:
        await http.serve(sockets=[sock])
    finally:
        await pool.stop(0)
        await replicas
        await upstream.close()


def _app(database: Database, clock: SystemClock, ids: Ids, pool: Pool) -> FastAPI:
    refresh = Refresh(
        database=database,
        clock=clock,
        access=Access(database, clock),
        tariffs=Tariffs(database),
        pool=pool,
        answer_recalls=EscrowFunds(LocalBooks(database, clock), clock, ids, "gateway-test").answer_recalls,
        runs=lambda _deployment: True,
    )
    return create_api(
        ApiDeps(
            database=database,
            clock=clock,
            ids=ids,
            refresh=refresh.now,
            pool=pool,
            not_ready=lambda: ["the journal is far behind"],
            standing=Standing,
            verify=partial(database.read, ledger.verify),
            in_flight=lambda: 3,
            journal_lag_bytes=lambda: 1234,
            registry=CollectorRegistry(),
            version="1.2.3",
        )
    )


def _settle(
    session: WriteSession, request: str, org: str, key: str, sku: str, *, usage: TokenUsage, now: float
) -> None:
    sheet = next(each for each in billing.price_sheets(session, now=now) if each.sku == sku)
    wallet = Scope(f"wallet:{org}", AccountKind.WALLET, 0)
    hold = PlaceHold(request, wallet, (), amount_micro=1_000_000, deadline=now + 600, ref=request)
    session.exclusive(metering.LOCK)  # locks are taken in one order, and loading takes this one first
    (placed,) = ledger.apply(session, [hold], now=now)
    assert isinstance(placed, Placed), placed
    admitted = Admitted(request, org, None, key, sku, "dep_1", sku, sheet.version, "chat", stream=False, at=now)
    settled = Settled(
        admitted=admitted,
        outcome=Outcome.COMPLETED,
        status=200,
        uncached=usage.uncached,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        output=usage.output,
        reasoning=0,
        waste_output=0,
        grains=str(sheet.grains(usage)),
        degraded=False,
        first_token_at=None,
        ended_at=now,
        engine_request_id=None,
    )
    since = gateway_store.progress(session, "gateway-1").position
    gateway.load(session, Load("gateway-1", (settled,), since, since + 1, since + 1), now=now)
