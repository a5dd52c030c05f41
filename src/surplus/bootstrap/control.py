"""The control process of a server with workers: it owns the listening socket, the database's writer and the engines."""

import asyncio
import random
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec import structs
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from surplus import __version__
from surplus.bootstrap import instructions
from surplus.bootstrap.books import gauge_books, watch_of
from surplus.bootstrap.data import CONTROL_SOCKET, LINK_SOCKET, RUN
from surplus.bootstrap.fleet import Fleet
from surplus.bootstrap.leftovers import Leftovers, first_free
from surplus.bootstrap.parts import create_control_plane, reachable
from surplus.bootstrap.running import Job, raise_failed, settle_down, stop_with
from surplus.bootstrap.server import FIRST_CHECK_S
from surplus.edge import edge_of
from surplus.gateway.access import Access
from surplus.gateway.books import LocalBooks
from surplus.gateway.limits import Limiter
from surplus.gateway.processes import LocalRoll
from surplus.gateway.refresh import Refresh
from surplus.gateway.tariffs import Tariffs
from surplus.gateway.upkeep import CONTROL, Upkeep
from surplus.gateway.watch import Watch
from surplus.gateway.worker import channels
from surplus.gateway.worker.books import BooksDesk
from surplus.gateway.worker.control_proxy import from_workers
from surplus.gateway.worker.limits import LimitsDesk
from surplus.gateway.worker.roll import RollDesk
from surplus.kit import children
from surplus.kit.children import Child, Children
from surplus.kit.clock import Clock, SystemClock
from surplus.kit.db import Database
from surplus.kit.edge import Edge
from surplus.kit.election import Office
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server import AsgiHandler
from surplus.kit.http1_server import Server as HttpServer
from surplus.kit.ids import Ids, RandomIds
from surplus.kit.link import Hub
from surplus.kit.link.server import bind
from surplus.kit.metrics import Merged
from surplus.serving import news
from surplus.serving.announcer import Announcer
from surplus.serving.engines.factory import Engines
from surplus.serving.replicas import Pool
from surplus.serving.upstream_http import HttpUpstream
from surplus.settings import Server as ServerSettings
from surplus.settings import Settings

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 600.0
CONNECTIONS: Final = 4096
SETTLING_S: Final = 30.0
"""How long after its requests a worker gets to bring its journal into the database."""


@dataclass(slots=True, kw_only=True)
class Control:
    """Every part of a control process that starts, stops or is asked how it is.

    `edge` is what the workers show to callers, `inside` what they meet themselves.
    """

    settings: Settings
    data: Path
    database: Database
    upstream: HttpUpstream
    pool: Pool
    hub: Hub
    fleet: Fleet
    edge: Edge
    inside: Edge
    watch: Watch
    app: ASGIApp
    jobs: list[Job]
    token: str
    journals: dict[int, int] = field(default_factory=dict[int, int])
    leftovers: Leftovers

    async def start_worker(self, number: int, sock: socket.socket) -> Child:
        """Start a worker. It gets the journal that it had, unless an earlier process still has that one open."""
        self.journals.pop(number, None)
        taken = set(self.journals.values())
        if self.leftovers.loading is not None:
            taken.add(self.leftovers.loading)
        self.journals[number] = first_free(self.data, taken)
        told = instructions.Instructions(
            number=number,
            journal=self.journals[number],
            data=str(self.data),
            token=self.token,
            settings=self.settings,
        )
        arguments = ("-m", "surplus", "worker", str(sock.fileno()))
        now = self.fleet.clock.monotonic()
        return await children.start(number, arguments, instructions.encode(told), inherited=(sock.fileno(),), now=now)


def _uncounted(_error: SurplusError) -> None:
    """Workers count what they refuse."""


def _inside(server: ServerSettings) -> ServerSettings:
    """The edge towards our own workers: no TLS, no strangers, and connections that they keep as long as they like."""
    return structs.replace(
        server,
        tls_certificate="",
        tls_key="",
        trusted_proxies="",
        keep_alive_s=KEEP_ALIVE_S,
        max_connections=CONNECTIONS,
        max_connections_per_key=CONNECTIONS,
        max_connections_per_address=CONNECTIONS,
    )


async def _nothing() -> None:
    """There is no slice in this process to give back."""


async def build(settings: Settings, data: Path, database: Database, environment: Mapping[str, str]) -> Control:
    """Put a control process together. Nothing listens yet."""
    clock = SystemClock()
    ids = RandomIds(clock)
    upstream = HttpUpstream()
    announcer = Announcer(clock)
    engines = Engines(upstream=upstream, ids=ids, environment=environment)
    pool = Pool(engines, ids=ids, clock=clock, jitter=random.random, changed=announcer.changed)
    limiter = Limiter()
    refresh = Refresh(
        database=database,
        clock=clock,
        access=Access(database, clock),
        tariffs=Tariffs(database),
        pool=pool,
        answer_recalls=_nothing,
        runs=reachable(settings),
    )
    fleet = Fleet(clock=clock, refresh=refresh, announcer=announcer, limits=LimitsDesk(limiter, clock), merged=Merged())
    books, roll = LocalBooks(database, clock), LocalRoll(database)
    token = secrets.token_hex(16)
    watch = watch_of(settings, data, database, clock)
    watch.told = fleet.tell_standing
    fleet.hub = _hub(fleet, BooksDesk(books, fleet.recall), RollDesk(roll), token)
    announcer.begin(pool, fleet.hub)
    leftovers = Leftovers(
        data=data,
        database=database,
        books=books,
        roll=roll,
        clock=clock,
        ids=ids,
        in_use=lambda: set(control.journals.values()),
    )
    office = Office(database, clock, CONTROL, ids.new("control"))
    candidates = [office] if settings.server.role == "all" else []
    control = Control(
        settings=settings,
        data=data,
        database=database,
        upstream=upstream,
        pool=pool,
        hub=fleet.hub,
        fleet=fleet,
        edge=edge_of(settings.server, ids, _uncounted),
        watch=watch,
        inside=edge_of(_inside(settings.server), ids, _uncounted),
        app=from_workers(_control_plane(settings, database, pool=pool, fleet=fleet, watch=watch, clock=clock, ids=ids)),
        jobs=[refresh, *candidates, Upkeep(database=database, clock=clock, office=office, limiter=limiter), leftovers],
        token=token,
        leftovers=leftovers,
    )
    return control


def _hub(fleet: Fleet, books: BooksDesk, roll: RollDesk, token: str) -> Hub:
    announcer, limits = fleet.announcer, fleet.limits
    return Hub(
        calls={
            channels.APPLY: books.apply,
            channels.LOAD: books.load,
            channels.RECALLED: books.recalled,
            channels.BEAT: roll.beat,
            channels.LEAVE: roll.leave,
        },
        replies={channels.TAKE: limits.take, channels.REPORT: fleet.report, news.PROBE: announcer.probe},
        hears={
            channels.RELEASE: limits.release,
            channels.HELD: limits.held,
            channels.REPORT: fleet.reported,
            channels.LOOKED: fleet.looked,
            news.BREAKER: announcer.breaker,
            news.RETURNED: announcer.returned,
            news.LEFT: announcer.left,
        },
        admits=lambda _name, given: secrets.compare_digest(given, token.encode()),
        joined=fleet.joined,
        left=fleet.left,
    )


def _control_plane(
    settings: Settings, database: Database, *, pool: Pool, fleet: Fleet, watch: Watch, clock: Clock, ids: Ids
) -> ASGIApp:
    registry = CollectorRegistry()
    registry.register(fleet)
    gauge_books(registry, watch)
    return create_control_plane(
        database=database,
        clock=clock,
        ids=ids,
        refresh=fleet.follow,
        pool=pool,
        not_ready=fleet.not_ready,
        standing=lambda: watch.standing,
        verify=watch.check,
        in_flight=lambda: fleet.in_flight,
        journal_lag_bytes=lambda: fleet.journal_lag_bytes,
        registry=registry if settings.metrics.enabled else None,
        version=__version__,
        role=settings.server.role,
        workers=fleet.workers,
    )


async def run(control: Control, sock: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then they drain, and this process ends after the last of them."""
    fleet, drain_s = control.fleet, control.settings.server.drain_s
    fleet.children = Children(
        count=control.settings.server.workers,
        clock=fleet.clock,
        jitter=random.random,
        begin=lambda number: control.start_worker(number, sock),
        ended=fleet.ended,
    )
    sock.listen(BACKLOG)  # from now on nobody is turned away: who comes before the first worker waits for it
    http, closing = HttpServer(fleet.clock, control.inside, drain_s=drain_s), asyncio.Event()
    with bind(control.data / RUN / LINK_SOCKET) as link, bind(control.data / RUN / CONTROL_SOCKET) as door:
        await fleet.refresh.now()
        await control.hub.listen(link)
        settle_down()
        watching = asyncio.create_task(control.watch.run())
        await control.watch.first(FIRST_CHECK_S)
        engines = asyncio.create_task(control.pool.run())
        serving = asyncio.create_task(http.serve(AsgiHandler(control.app), door, closing))
        working = asyncio.create_task(fleet.children.run())
        jobs = [asyncio.create_task(job.run()) for job in control.jobs]
        stop_with([watching, engines, serving, working, *jobs], stop)
        await stop.wait()
        fleet.draining = True
        control.watch.stop()
        await fleet.children.stop(drain_s + SETTLING_S)
        closing.set()
        await control.pool.stop(drain_s)
        for job in jobs:
            job.cancel()
        ended = await asyncio.gather(watching, engines, serving, working, *jobs, return_exceptions=True)
        await control.hub.close()
    await control.upstream.close()
    control.database.close()
    raise_failed(ended)
