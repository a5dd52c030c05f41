"""A process that takes requests: its parts put together, started in order and ended in order."""

import asyncio
import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.types import ASGIApp

from surplus import __version__
from surplus.bootstrap.books import gauge_books, watch_of
from surplus.bootstrap.data import SLOTS, gateway_name, journal_directory
from surplus.bootstrap.leftovers import Leftovers, first_free
from surplus.bootstrap.parts import RESTARTS, WORKERS, create_control_plane, patience, reachable, tracer_of
from surplus.bootstrap.running import Job, raise_failed, settle_down, stop_with
from surplus.edge import edge_of
from surplus.gateway import http as gateway_http
from surplus.gateway.access import Access
from surplus.gateway.admission import Admitting
from surplus.gateway.books import LocalBooks
from surplus.gateway.dispatch import Dispatcher
from surplus.gateway.errors import NotAGateway
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Fsync, Loader
from surplus.gateway.limits import Limiter, Limiting
from surplus.gateway.metrics import Metrics
from surplus.gateway.model import Process
from surplus.gateway.path import Path as RequestPath
from surplus.gateway.ports import Books
from surplus.gateway.processes import LocalRoll, Presence, Roll
from surplus.gateway.refresh import Refresh
from surplus.gateway.settlement import Ledgered
from surplus.gateway.standing import Watching
from surplus.gateway.tariffs import Tariffs
from surplus.gateway.tokenizer import Tokenizer
from surplus.gateway.tracing import Tracer
from surplus.gateway.upkeep import CONTROL, Tidying, Upkeep
from surplus.gateway.watch import Watch
from surplus.kit.clock import Clock, SystemClock
from surplus.kit.db import Database
from surplus.kit.edge import Edge
from surplus.kit.election import Office
from surplus.kit.http1_server import AsgiHandler, Handler
from surplus.kit.http1_server import Server as HttpServer
from surplus.kit.http_server import split
from surplus.kit.ids import Ids, RandomIds
from surplus.kit.journal import Journal, Slots
from surplus.kit.money import MICRO_PER_DOLLAR
from surplus.serving.directory import Directory
from surplus.serving.engines.factory import Engines
from surplus.serving.replicas import Pool
from surplus.serving.upstream_http import HttpUpstream
from surplus.settings import Settings

FIRST_CHECK_S: Final = 1.0  # a longer check of the ledger goes on while the server already listens


@dataclass(slots=True, kw_only=True)
class Server:
    """Every part of a running gateway that starts, stops or is asked how it is.

    `answer` is who answers requests, `api` the control plane and `pool` the engines, where this process has them.
    `cut_off` is set when nobody writes to the database any more: the journal is left for the next start then.
    """

    name: str
    settings: Settings
    database: Database
    journal: Journal
    slots: Slots
    loader: Loader
    fsync: Fsync
    ledgered: Ledgered
    funds: EscrowFunds
    path: RequestPath
    pool: Pool | None
    upstream: HttpUpstream
    refresh: Refresh
    presence: Presence
    edge: Edge
    watching: Watching
    watch: Watch | None = None
    http: HttpServer
    answer: Handler
    registry: CollectorRegistry
    flush_traces: Any
    jobs: list[Job]
    api: ASGIApp | None = None
    cut_off: asyncio.Event = field(default_factory=asyncio.Event)

    def not_ready(self) -> list[str]:
        """Why this server should not get requests now; nothing if it should."""
        reasons: list[str] = []
        if self.path.draining:
            reasons.append("shutting down")
        if self.refresh.stale:
            reasons.append("the database does not answer")
        if self.ledgered.behind:
            reasons.append(f"the journal is {self.loader.lag_bytes} bytes ahead of the database")
        if self.ledgered.unwritten:
            reasons.append("the journal's disk is full")
        if (unsold := self.watching.standing.not_ready()) is not None:
            reasons.append(unsold)
        return reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a gateway works with that is here in one process, and elsewhere for a worker."""

    clock: Clock
    ids: Ids
    journal: Path
    database: Database
    books: Books
    roll: Roll
    role: str
    limiter: Limiting
    watching: Watching
    directory: Directory
    pool: Pool | None
    upstream: HttpUpstream


async def build(settings: Settings, data: Path, database: Database, environment: Mapping[str, str]) -> Server:
    """Put a server of one process together and bring its books in order. Nothing listens yet."""
    clock = SystemClock()
    ids = RandomIds(clock)
    limiter = Limiter()
    upstream = HttpUpstream()
    pool = Pool(
        Engines(upstream=upstream, ids=ids, environment=environment), ids=ids, clock=clock, jitter=random.random
    )
    number = first_free(data)
    watch = watch_of(settings, data, database, clock)
    books, roll = LocalBooks(database, clock), LocalRoll(database)
    around = Around(
        clock=clock,
        ids=ids,
        journal=journal_directory(data, number),
        database=database,
        books=books,
        roll=roll,
        role=settings.server.role,
        limiter=limiter,
        watching=watch,
        directory=pool,
        pool=pool,
        upstream=upstream,
    )
    server = await build_gateway(settings, around)
    server.watch, watch.gateway, watch.journal = watch, server.name, server.journal
    office = Office(database, clock, CONTROL, server.name)
    leftovers = Leftovers(
        data=data, database=database, books=books, roll=roll, clock=clock, ids=ids, in_use=lambda: {number}
    )
    server.jobs += [Upkeep(database=database, clock=clock, office=office, limiter=limiter), leftovers]
    if settings.server.role != "gateway":
        server.jobs.append(office)
    gauge_books(server.registry, watch)
    Gauge("surplus_workers", WORKERS, registry=server.registry)
    Counter("surplus_worker_restarts", RESTARTS, registry=server.registry)
    server.api = _control_plane(server, pool, watch, clock, ids)
    server.answer = split(gateway_http.PREFIX, server.answer, AsgiHandler(server.api))
    return server


@dataclass(frozen=True, slots=True, kw_only=True)
class _Journaled:
    """What stands behind the journal of one gateway."""

    name: str
    journal: Journal
    slots: Slots
    loader: Loader
    funds: EscrowFunds
    fsync: Fsync
    ledgered: Ledgered


async def build_gateway(settings: Settings, around: Around) -> Server:
    """Put together what takes requests, and bring its journal in order after its last run."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    tracer, flush_traces = tracer_of(settings)
    journaled = await _open_journal(settings, around, metrics, tracer)
    access, tariffs = Access(around.database, around.clock), Tariffs(around.database)
    path = _path(settings, around, journaled, access=access, tariffs=tariffs, metrics=metrics, tracer=tracer)
    refresh = Refresh(
        database=around.database,
        clock=around.clock,
        access=access,
        tariffs=tariffs,
        pool=around.pool,
        answer_recalls=journaled.funds.answer_recalls,
        runs=reachable(settings),
    )
    presence = _presence(around, journaled.name)
    edge = edge_of(settings.server, around.ids, metrics.refuse)
    server = Server(
        name=journaled.name,
        settings=settings,
        database=around.database,
        journal=journaled.journal,
        slots=journaled.slots,
        loader=journaled.loader,
        fsync=journaled.fsync,
        ledgered=journaled.ledgered,
        funds=journaled.funds,
        path=path,
        pool=around.pool,
        upstream=around.upstream,
        refresh=refresh,
        presence=presence,
        edge=edge,
        watching=around.watching,
        http=HttpServer(around.clock, edge, drain_s=settings.server.drain_s),
        answer=gateway_http.Gateway(path, around.directory, around.ids),
        registry=registry,
        flush_traces=flush_traces,
        jobs=[journaled.fsync, refresh, presence, Tidying(ledgered=journaled.ledgered, funds=journaled.funds)],
    )
    _gauges(server, metrics)
    return server


async def _open_journal(settings: Settings, around: Around, metrics: Metrics, tracer: Tracer) -> _Journaled:
    around.journal.mkdir(mode=0o700, exist_ok=True)
    gateway = gateway_name(around.journal, around.ids)
    journal = Journal.open(around.journal, segment_bytes=settings.journal.segment_mib * 2**20)
    slots = Slots.open(around.journal / SLOTS, settings.gateway.slots)
    funds = EscrowFunds(around.books, around.clock, around.ids, gateway)
    loader = Loader(
        gateway=gateway,
        database=around.database,
        books=around.books,
        funds=funds,
        journal=journal,
        clock=around.clock,
        gather_s=settings.journal.load_ms / 1000,
    )
    await loader.recover(slots)
    fsync = Fsync(journal, loader, settings.journal.fsync_ms / 1000)
    lag_max = settings.journal.lag_mib * 2**20
    ledgered = Ledgered(
        journal, fsync.ring, funds, metrics, tracer, lag_bytes=lambda: loader.lag_bytes, lag_max=lag_max
    )
    return _Journaled(
        name=gateway, journal=journal, slots=slots, loader=loader, funds=funds, fsync=fsync, ledgered=ledgered
    )


def _not_a_gateway() -> NotAGateway:
    return NotAGateway()


def _path(
    settings: Settings,
    around: Around,
    journaled: _Journaled,
    *,
    access: Access,
    tariffs: Tariffs,
    metrics: Metrics,
    tracer: Tracer,
) -> RequestPath:
    clock, directory, upstream = around.clock, around.directory, around.upstream
    tokenizer = Tokenizer(directory, upstream)
    admitting = Admitting(
        clock=clock,
        pool=directory,
        tariffs=tariffs,
        limiter=around.limiter,
        funds=journaled.funds,
        ledgered=journaled.ledgered,
        slots=journaled.slots,
        tokenizer=tokenizer,
        request_timeout_s=settings.gateway.request_timeout_s,
    )
    dispatcher = Dispatcher(clock=clock, pool=directory, upstream=upstream, patience=patience(settings), tracer=tracer)
    return RequestPath(
        clock=clock,
        ids=around.ids,
        access=access,
        limiter=around.limiter,
        admitting=admitting,
        dispatcher=dispatcher,
        tokenizer=tokenizer,
        tracer=tracer,
        metrics=metrics,
        max_body_bytes=settings.server.max_body_bytes,
        closed=_not_a_gateway if settings.server.role == "control" else around.watching.closed,
        keepalive_s=settings.gateway.keepalive_s,
    )


def _presence(around: Around, gateway: str) -> Presence:
    now = around.clock.now()
    process = Process(gateway, socket.gethostname(), os.getpid(), around.role, __version__, now, now)
    return Presence(around.roll, around.clock, process)


def _gauges(server: Server, metrics: Metrics) -> None:
    lag, unwritten = "Journal that is not in the database yet", "Settlements that the disk refused"
    granted = "Money that slices have granted to requests which are not charged yet"
    metrics.gauge("surplus_in_flight", "Requests being served", lambda: server.path.in_flight)
    metrics.gauge("surplus_journal_lag_bytes", lag, lambda: server.loader.lag_bytes)
    metrics.gauge("surplus_unwritten_settlements", unwritten, lambda: server.ledgered.unwritten)
    metrics.gauge("surplus_slots_in_use", "In-flight slots that are claimed", lambda: server.slots.in_use)
    metrics.gauge("surplus_granted_dollars", granted, lambda: server.funds.granted_micro / MICRO_PER_DOLLAR)
    metrics.gauge("surplus_upstream_connections", "Connections to engines", lambda: server.upstream.connections)
    metrics.gauge("surplus_tasks", "Tasks of the event loop", lambda: len(asyncio.all_tasks()))


def _control_plane(server: Server, pool: Pool, watch: Watch, clock: Clock, ids: Ids) -> ASGIApp:
    return create_control_plane(
        database=server.database,
        clock=clock,
        ids=ids,
        refresh=server.refresh.now,
        pool=pool,
        not_ready=server.not_ready,
        standing=lambda: watch.standing,
        verify=watch.check,
        in_flight=lambda: server.path.in_flight,
        journal_lag_bytes=lambda: server.loader.lag_bytes,
        registry=server.registry if server.settings.metrics.enabled else None,
        version=__version__,
        role=server.settings.server.role,
    )


async def run(server: Server, sock: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain: no answer is cut off and no record is lost."""
    await server.refresh.now()
    settle_down()
    loading = asyncio.create_task(server.loader.run())
    lasting = [asyncio.create_task(one.run()) for one in (server.pool, server.watch) if one is not None]
    jobs = [asyncio.create_task(job.run()) for job in server.jobs]
    jobs.append(asyncio.create_task(_drain_after(stop, server)))
    stop_with([loading, *lasting, *jobs], stop)
    try:
        if server.watch is not None:
            await server.watch.first(FIRST_CHECK_S)
        await server.http.serve(server.answer, sock, stop)
    finally:
        if server.watch is not None:
            server.watch.stop()
        await server.path.finish()
        await server.funds.settle_releases()
        server.ledgered.flush()
        await server.loader.stop()
        await _load_the_rest(server, loading)
        for job in jobs:
            job.cancel()
        ended = await asyncio.gather(loading, *jobs, return_exceptions=True)
        await server.funds.close()
        await server.presence.leave()
        if server.pool is not None:
            await server.pool.stop(server.settings.server.drain_s)
        ended += await asyncio.gather(*lasting, return_exceptions=True)
        await close(server)
    raise_failed(ended)


async def _load_the_rest(server: Server, loading: asyncio.Task[None]) -> None:
    """Wait for the end of the journal, unless there is nobody to load it into."""
    cut_off = asyncio.create_task(server.cut_off.wait())
    await asyncio.wait({loading, cut_off}, return_when=asyncio.FIRST_COMPLETED)
    cut_off.cancel()
    loading.cancel()


async def _drain_after(stop: asyncio.Event, server: Server) -> None:
    await stop.wait()
    server.path.draining = True


async def close(server: Server) -> None:
    """Close what was opened, in the opposite order."""
    await server.upstream.close()
    if server.flush_traces is not None:
        await asyncio.to_thread(server.flush_traces)
    server.slots.close()
    server.journal.close()
    server.database.close()
