"""A gateway worker: takes requests beside others, and asks the control process for money, limits and engines."""

import asyncio
import logging
import os
import random
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from surplus.bootstrap import instructions, server
from surplus.bootstrap.data import CONTROL_SOCKET, DATABASE, LINK_SOCKET, RUN, journal_directory
from surplus.bootstrap.instructions import Instructions, worker_name
from surplus.bootstrap.server import Around, Server
from surplus.gateway import http as gateway_http
from surplus.gateway.books import LocalBooks
from surplus.gateway.ports import Books
from surplus.gateway.processes import LocalRoll, Roll
from surplus.gateway.standing import Standing
from surplus.gateway.worker import channels
from surplus.gateway.worker.books import LinkBooks
from surplus.gateway.worker.control_proxy import ControlProxy
from surplus.gateway.worker.limits import LinkLimits
from surplus.gateway.worker.roll import LinkRoll
from surplus.kit import log as logs
from surplus.kit.children import Lifeline
from surplus.kit.clock import Clock, SystemClock
from surplus.kit.db import Database
from surplus.kit.errors import SurplusError, Unavailable
from surplus.kit.http1_server import AsgiHandler
from surplus.kit.http_server import split
from surplus.kit.ids import RandomIds
from surplus.kit.link import Link, LinkLost
from surplus.kit.metrics import snapshot
from surplus.serving import news
from surplus.serving.mirror import Mirror
from surplus.serving.upstream_http import HttpUpstream

log: Final = logging.getLogger(__name__)

ROLE: Final = "worker"
REPORT_EVERY_S: Final = 0.5
CONNECT_S: Final = 10.0


@dataclass(slots=True, kw_only=True)
class Reporter:
    """Tells the control process how this worker is, twice a second and at the end."""

    number: int
    server: Server
    mirror: Mirror
    link: Link

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.link.tell(channels.REPORT, self.report())
            await asyncio.sleep(REPORT_EVERY_S)

    async def last(self) -> None:
        """The last word, which has to be heard."""
        with suppress(LinkLost):
            await self.link.call(channels.REPORT, self.report())

    def report(self) -> bytes:
        """How it is now."""
        return channels.encode(
            channels.Report(
                number=self.number,
                pid=os.getpid(),
                why=self.server.not_ready(),
                in_flight=self.server.path.in_flight,
                journal_lag_bytes=self.server.loader.lag_bytes,
                replicas={replica.id: replica.in_flight for replica in self.mirror.replicas() if replica.in_flight},
                metrics=snapshot(self.server.registry),
            )
        )


@dataclass(slots=True)
class Told:
    """How the books stand, as the control process says."""

    standing: Standing = field(default_factory=Standing)

    def hear(self, payload: bytes) -> None:
        """Hears STANDING."""
        self.standing = channels.standing(payload)

    def closed(self) -> Unavailable | None:
        """Why nothing is sold now; None while it is."""
        return self.standing.refusal()


@dataclass(slots=True)
class Looking:
    """Looks at the database when the control process says that facts have changed."""

    link: Callable[[], Link]
    server: Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def hear(self, payload: bytes) -> None:
        """Hears LOOK."""
        if self.server is not None:
            task = asyncio.create_task(self._look(self.server, payload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look(self, server: Server, payload: bytes) -> None:
        try:
            await server.refresh.now()
        except SurplusError:  # the look that is due anyway says so, and the control process does not wait for long
            return
        self.link().tell(channels.LOOKED, payload)


async def serve(told: Instructions, sock: socket.socket, lifeline: Lifeline) -> None:
    """Take requests on `sock` until SIGTERM, or until the control process has ended; then drain."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    clock = SystemClock()
    mirror, books = Mirror(clock), Told()
    known = asyncio.Event()
    looking = Looking(lambda: link)

    def hear_pool(payload: bytes) -> None:
        mirror.hear(payload)
        known.set()

    def up() -> None:
        limits.up()

    link = Link(
        Path(told.data) / RUN / LINK_SOCKET,
        worker_name(told.number, os.getpid()),
        told.token.encode(),
        topics={
            news.POOL: hear_pool,
            news.BREAKER: mirror.hear_breaker,
            channels.STANDING: books.hear,
            channels.LOOK: looking.hear,
        },
        jitter=random.random,
        up=up,
        down=mirror.lost,
    )
    limits = LinkLimits(link)
    mirror.begin(link)
    linking = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(CONNECT_S):
            await link.wait_up()
            await known.wait()
        made = await _build(told, link, limits, mirror, books)
        looking.server = made
        lifeline.watch(lambda: _orphaned(made, stop))
        reporter = Reporter(number=told.number, server=made, mirror=mirror, link=link)
        made.jobs.append(reporter)
        try:
            await server.run(made, sock, stop)
        finally:
            await reporter.last()
    finally:
        linking.cancel()
        await asyncio.wait({linking})


async def _build(told: Instructions, link: Link, limits: LinkLimits, mirror: Mirror, books: Told) -> Server:
    data, clock = Path(told.data), SystemClock()
    ids = RandomIds(clock)
    database, books_here, roll = _store(told, link, clock)
    around = Around(
        clock=clock,
        ids=ids,
        journal=journal_directory(data, told.journal),
        database=database,
        books=books_here,
        roll=roll,
        role=ROLE,
        limiter=limits,
        watching=books,
        directory=mirror,
        pool=None,
        upstream=HttpUpstream(),
    )
    made = await server.build_gateway(told.settings, around)
    control = ControlProxy(HttpUpstream(unix=data / RUN / CONTROL_SOCKET), made.edge.tell)
    made.answer = split(gateway_http.PREFIX, made.answer, AsgiHandler(control))
    return made


def _store(told: Instructions, link: Link, clock: Clock) -> tuple[Database, Books, Roll]:
    """A database server takes what every process writes; a file has one writer, the control process."""
    url = told.settings.store.url
    if url:
        database = Database(url)
        return database, LocalBooks(database, clock), LocalRoll(database)
    return Database(Path(told.data) / DATABASE, readonly=True), LinkBooks(link), LinkRoll(link)


def _orphaned(made: Server, stop: asyncio.Event) -> None:
    log.error("the control process has ended: this worker ends after its last request")
    made.cut_off.set()
    stop.set()


def main(descriptor: int, pipe: int) -> None:
    """A worker from its start to its end. Raises SurplusError, OSError."""
    told = instructions.decode(Lifeline(pipe).instructions())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(told.settings.server.log_level)
    with socket.socket(fileno=descriptor) as sock, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(told, sock, Lifeline(pipe)))
