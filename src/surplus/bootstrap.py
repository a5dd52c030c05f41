"""The only wiring: builds every part of a server from its settings, starts them in order and ends them in order."""

import asyncio
import gc
import importlib
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from surplus import __version__, migrations
from surplus.api.app import ApiDeps, create_api
from surplus.gateway import http as gateway_http
from surplus.gateway.access import Access
from surplus.gateway.admission import Admitting
from surplus.gateway.books import LocalBooks
from surplus.gateway.dispatch import Dispatcher, Patience
from surplus.gateway.funds import EscrowFunds
from surplus.gateway.jobs import Fsync, Loader
from surplus.gateway.limits import Limiter
from surplus.gateway.metrics import Metrics
from surplus.gateway.model import Process
from surplus.gateway.path import Path as RequestPath
from surplus.gateway.processes import Presence
from surplus.gateway.refresh import Refresh
from surplus.gateway.settlement import Ledgered
from surplus.gateway.tariffs import Tariffs
from surplus.gateway.tokenizer import Tokenizer
from surplus.gateway.tracing import Tracer
from surplus.gateway.upkeep import CONTROL, Upkeep
from surplus.gateway.watch import Every, Watch
from surplus.identity import service as identity
from surplus.identity.model import KeySecret
from surplus.kit import log as logs
from surplus.kit import settings as kit_settings
from surplus.kit.clock import Clock, SystemClock
from surplus.kit.db import Database, WriteSession
from surplus.kit.db.migrate import upgrade
from surplus.kit.election import Office
from surplus.kit.errors import SurplusError
from surplus.kit.http_server import HttpServer, listen, split
from surplus.kit.ids import Ids, RandomIds
from surplus.kit.journal import Journal, Slots
from surplus.serving.engines.factory import Engines
from surplus.serving.replicas import Pool
from surplus.serving.upstream_http import HttpUpstream
from surplus.settings import Settings

log: Final = logging.getLogger(__name__)

MIGRATIONS: Final = Path(migrations.__path__[0])
SETTINGS_FILE: Final = "surplus.toml"
OPERATOR_KEY: Final = "operator.key"
DATABASE: Final = "surplus.db"
ROLE: Final = "all"
JOURNAL: Final = "journal"
CHECKED: Final = "checkpoint"
GATEWAY: Final = "gateway"
"""The file in a journal's directory that has the name of its gateway: no other one anywhere has it."""

CONNECT_S: Final = 5.0
KEEP_ALIVE_S: Final = 75
FIRST_CHECK_S: Final = 1.0  # a longer check of the ledger goes on while the server already listens


class JobFailed(SurplusError):
    """Something that has to run in the background does not; a fault of ours."""

    code = "job_failed"


@dataclass(slots=True, kw_only=True)
class Server:
    """Every part of a running server that starts, stops or is asked how it is."""

    settings: Settings
    database: Database
    journal: Journal
    slots: Slots
    loader: Loader
    fsync: Fsync
    ledgered: Ledgered
    funds: EscrowFunds
    path: RequestPath
    pool: Pool
    upstream: HttpUpstream
    refresh: Refresh
    upkeep: Upkeep
    watch: Watch
    office: Office
    presence: Presence
    app: ASGIApp
    flush_traces: Any

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
        if (unsold := self.watch.standing.not_ready()) is not None:
            reasons.append(unsold)
        return reasons


def load_settings(data: Path, config: Path | None, store_url: str | None = None) -> Settings:
    """The settings of a data directory: `--config`, else DATA/surplus.toml where there is one. Raises BadSetting.

    `store_url` wins over both, and over the environment.
    """
    file = config or (data / SETTINGS_FILE if (data / SETTINGS_FILE).exists() else None)
    settings, _ = kit_settings.load(Settings, file=file, environment=environment(store_url))
    return settings


def environment(store_url: str | None) -> dict[str, str]:
    """This process's environment, as if it named the database at `store_url` where one is given."""
    given = {} if store_url is None else {kit_settings.variable("store.url"): store_url}
    return {**kit_settings.environment(), **given}


def open_store(data: Path, url: str = "") -> Database:
    """Make the data directory (mode 0700), and open the database at `url`, or in it, at the newest schema."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(url or data / DATABASE)
    try:
        upgrade(database, MIGRATIONS)
    except SurplusError:
        database.close()
        raise
    return database


def write_operator_key(data: Path, made: KeySecret) -> None:
    """Put the key into DATA/operator.key (mode 0600), in the place of what is there."""
    file = data / OPERATOR_KEY
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(made.token + "\n")


def ensure_operator(database: Database, ids: Ids, data: Path, now: float) -> bool:
    """Write DATA/operator.key (mode 0600) if the operator has no usable key; returns whether one was made."""

    def ensure(session: WriteSession) -> bool:
        made = identity.ensure_operator_key(session, ids, now=now)
        if made is None:
            return False
        write_operator_key(data, made)  # before the commit: a key that nobody holds must not exist
        return True

    return database.write_now(ensure)


def gateway_name(directory: Path, ids: Ids) -> str:
    """The name of the gateway whose journal is in `directory`; made, and written there, at its first start."""
    if not (directory / GATEWAY).exists() and not any(directory.glob("*.journal")):
        (directory / GATEWAY).write_text(ids.new("gw"))
    return known_gateway(directory)


def known_gateway(directory: Path) -> str:
    """The name of the gateway whose journal is in `directory`."""
    file = directory / GATEWAY
    return file.read_text().strip() if file.exists() else "gateway-1"  # of a version that had no names


async def build(settings: Settings, data: Path, database: Database, environment: Mapping[str, str]) -> Server:
    """Put a server together and bring its books in order after the last run. Nothing listens yet."""
    ids = RandomIds(clock := SystemClock())
    (data / JOURNAL).mkdir(mode=0o700, exist_ok=True)
    gateway = gateway_name(data / JOURNAL, ids)
    journal = Journal.open(data / JOURNAL, segment_bytes=settings.journal.segment_mib * 2**20)
    slots = Slots.open(data / JOURNAL / "slots", settings.gateway.slots)
    books = LocalBooks(database, clock)
    funds = EscrowFunds(books, clock, ids, gateway)
    loader = Loader(
        gateway=gateway,
        database=database,
        books=books,
        funds=funds,
        journal=journal,
        clock=clock,
        gather_s=settings.journal.load_ms / 1000,
    )
    await loader.recover(slots)
    fsync = Fsync(journal, loader, settings.journal.fsync_ms / 1000)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    tracer, flush_traces = _tracer(settings)
    ledgered = Ledgered(
        journal,
        fsync.ring,
        funds,
        metrics,
        tracer,
        lag_bytes=lambda: loader.lag_bytes,
        lag_max=settings.journal.lag_mib * 2**20,
    )
    upstream = HttpUpstream()
    engines = Engines(upstream=upstream, ids=ids, environment=environment)
    pool = Pool(engines, ids=ids, clock=clock, jitter=random.random)
    access, tariffs, limiter = Access(database, clock), Tariffs(database), Limiter()
    tokenizer = Tokenizer(pool, upstream)
    admitting = Admitting(
        clock=clock,
        pool=pool,
        tariffs=tariffs,
        limiter=limiter,
        funds=funds,
        ledgered=ledgered,
        slots=slots,
        tokenizer=tokenizer,
        request_timeout_s=settings.gateway.request_timeout_s,
    )
    dispatcher = Dispatcher(clock=clock, pool=pool, upstream=upstream, patience=_patience(settings), tracer=tracer)
    every = Every(settings.ledger.verify_every_s, settings.ledger.verify_all_every_s)
    watch = Watch(gateway=gateway, database=database, journal=journal, clock=clock, file=data / CHECKED, every=every)
    path = RequestPath(
        clock=clock,
        ids=ids,
        access=access,
        limiter=limiter,
        admitting=admitting,
        dispatcher=dispatcher,
        tokenizer=tokenizer,
        tracer=tracer,
        metrics=metrics,
        closed=watch.closed,
        max_body_bytes=settings.server.max_body_bytes,
        keepalive_s=settings.gateway.keepalive_s,
    )
    refresh = Refresh(
        database=database, clock=clock, access=access, tariffs=tariffs, pool=pool, answer_recalls=funds.answer_recalls
    )
    office = Office(database, clock, CONTROL, gateway)
    server = Server(
        settings=settings,
        office=office,
        presence=_presence(database, clock, gateway),
        database=database,
        journal=journal,
        slots=slots,
        loader=loader,
        fsync=fsync,
        ledgered=ledgered,
        funds=funds,
        path=path,
        pool=pool,
        upstream=upstream,
        refresh=refresh,
        upkeep=Upkeep(database=database, clock=clock, office=office, limiter=limiter, ledgered=ledgered, funds=funds),
        watch=watch,
        app=gateway_http.Gateway(path, pool, ids),
        flush_traces=flush_traces,
    )
    _gauges(server, metrics)
    api = _control_plane(server, clock, ids, registry if settings.metrics.enabled else None)
    server.app = split(gateway_http.PREFIX, server.app, api)
    return server


def _presence(database: Database, clock: Clock, gateway: str) -> Presence:
    now = clock.now()
    return Presence(database, clock, Process(gateway, socket.gethostname(), os.getpid(), ROLE, __version__, now, now))


def _gauges(server: Server, metrics: Metrics) -> None:
    gauge, standing = metrics.gauge, lambda: server.watch.standing
    gauge("surplus_in_flight", "Requests being served", lambda: server.path.in_flight)
    gauge("surplus_journal_lag_bytes", "Journal that is not in the database yet", lambda: server.loader.lag_bytes)
    gauge("surplus_unwritten_settlements", "Settlements that the disk refused", lambda: server.ledgered.unwritten)
    gauge("surplus_slots_in_use", "In-flight slots that are claimed", lambda: server.slots.in_use)
    gauge("surplus_ledger_violations", "Errors found in the ledger", lambda: len(standing().problems))
    gauge("surplus_ledger_checked_seq", "Ledger entry that was checked last", lambda: standing().seq)


def _control_plane(server: Server, clock: Clock, ids: Ids, registry: CollectorRegistry | None) -> ASGIApp:
    return create_api(
        ApiDeps(
            database=server.database,
            clock=clock,
            ids=ids,
            refresh=server.refresh.now,
            pool=server.pool,
            not_ready=server.not_ready,
            standing=lambda: server.watch.standing,
            verify=server.watch.check,
            in_flight=lambda: server.path.in_flight,
            journal_lag_bytes=lambda: server.loader.lag_bytes,
            registry=registry,
            version=__version__,
        )
    )


def _patience(settings: Settings) -> Patience:
    gateway = settings.gateway
    return Patience(
        attempts=gateway.attempts,
        pause_s=gateway.retry_pause_s,
        pause_max_s=gateway.retry_pause_max_s,
        connect_s=CONNECT_S,
        first_event_s=gateway.first_event_timeout_s,
        idle_s=gateway.idle_timeout_s,
        request_s=gateway.request_timeout_s,
        drain_s=gateway.drain_upstream_s,
    )


def _tracer(settings: Settings) -> tuple[Tracer, Any]:
    """A tracer that exports, loaded only where an endpoint is set: its libraries are as large as all the rest."""
    tracing = settings.tracing
    if not tracing.endpoint:
        return Tracer(), None
    exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    sdk = importlib.import_module("opentelemetry.sdk.trace")
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    resources = importlib.import_module("opentelemetry.sdk.resources")
    names = {"service.name": "surplus", "service.version": __version__}
    provider = sdk.TracerProvider(resource=resources.Resource.create(names))
    provider.add_span_processor(export.BatchSpanProcessor(exporter.OTLPSpanExporter(endpoint=tracing.endpoint)))
    return Tracer(provider.get_tracer("surplus"), ratio=tracing.sample_ratio), provider.shutdown


async def run(server: Server, sock: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain: no answer is cut off and no record is lost."""
    settings = server.settings.server
    config = uvicorn.Config(
        server.app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    http = HttpServer(config)
    await server.refresh.now()
    gc.collect()
    gc.freeze()  # what is alive now stays alive: the collector need not look at it again and again
    loading = asyncio.create_task(server.loader.run())
    replicas = asyncio.create_task(server.pool.run())
    watching = asyncio.create_task(server.watch.run())
    jobs = [
        asyncio.create_task(job.run())
        for job in (server.fsync, server.refresh, server.office, server.presence, server.upkeep)
    ]
    jobs.append(asyncio.create_task(_drain_after(stop, server, http)))
    for task in (loading, replicas, watching, *jobs):
        task.add_done_callback(lambda ended: _job_ended(ended, stop))
    try:
        await server.watch.first(FIRST_CHECK_S)
        await http.serve(sockets=[sock])
    finally:
        server.watch.stop()
        await server.path.finish()
        await server.funds.settle_releases()
        server.ledgered.flush()
        await server.loader.stop()
        loaded = await asyncio.gather(loading, return_exceptions=True)
        for job in jobs:
            job.cancel()
        ended = [*loaded, *await asyncio.gather(*jobs, return_exceptions=True)]
        await server.funds.close()
        await server.presence.leave()
        await server.pool.stop(settings.drain_s)
        ended += await asyncio.gather(replicas, watching, return_exceptions=True)
        await close(server)
    if any(isinstance(outcome, Exception) for outcome in ended):
        raise JobFailed("a background job failed, so the server stopped; its log says which, and why")


async def _drain_after(stop: asyncio.Event, server: Server, http: HttpServer) -> None:
    await stop.wait()
    server.path.draining = True
    http.should_exit = True


def _job_ended(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """A job that ends by a fault of ours must not go unnoticed: better to stop than to go on without it."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("a background job failed; the server stops", exc_info=task.exception())
        stop.set()


async def close(server: Server) -> None:
    """Close what was opened, in the opposite order."""
    await server.upstream.close()
    if server.flush_traces is not None:
        await asyncio.to_thread(server.flush_traces)
    server.slots.close()
    server.journal.close()
    server.database.close()


def serve(
    *,
    data: Path,
    host: str | None = None,
    port: int | None = None,
    config: Path | None = None,
    store_url: str | None = None,
) -> int:
    """`surplus serve`: returns the exit status."""
    try:
        settings = load_settings(data, config, store_url)
        logs.configure(settings.server.log_level)
        sock = listen(host or settings.server.host, settings.server.port if port is None else port)
        with sock, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, data, sock))
    except SurplusError as error:
        sys.stderr.write(f"surplus: {error.message}\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"surplus: {data} cannot be used: {error.strerror}; `surplus doctor --data {data}` says more\n"
        )
        return 1
    return 0


async def _serve(settings: Settings, data: Path, sock: socket.socket) -> None:
    clock = SystemClock()
    database = open_store(data, settings.store.url)
    made = ensure_operator(database, RandomIds(clock), data, clock.now())
    server = await build(settings, data, database, kit_settings.environment())
    address, port = sock.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    sys.stdout.write(f"Surplus {__version__} at {url}\n")
    sys.stdout.write(f"  model API   {url}/v1\n  control     {url}/api  (documents: {url}/api/docs)\n")
    sys.stdout.write(f"  database    {database.name}\n")
    sys.stdout.write(f"  operator    {_operator_key(data / OPERATOR_KEY, made=made)}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(server, sock, stop)


def _operator_key(file: Path, *, made: bool) -> str:
    if made or file.exists():
        return f"key {'written to' if made else 'is in'} {file}"
    return "the first server of this database has the key, in its data directory"


def demo(*, data: Path | None = None, port: int | None = None, once: bool = False) -> int:
    """`surplus demo`: returns the exit status."""
    try:
        runner = importlib.import_module("surplus.demo.run")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"surplus: the demo needs the package {error.name!r}; `make demo` installs it\n")
        return 1
    return runner.run(data=data, port=port, once=once)


def doctor(*, data: Path | None = None, config: Path | None = None, store_url: str | None = None) -> list[Any]:
    """`surplus doctor`: what was looked at and found, as `surplus.doctor.Check`."""
    return importlib.import_module("surplus.doctor").examine(data=data, config=config, store_url=store_url)
