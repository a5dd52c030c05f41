"""A server with workers, as processes, and what can be asked of each."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from surplus import bootstrap
from surplus.gateway import processes
from surplus.kit.db import Database
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger import service as ledger
from surplus.metering.model import UsageRecord
from tests.http.harness import eventually
from tests.http.processes import END_S, Books, Customer, Process, serving

WORKERS = 2
QUICK = {"SURPLUS_JOURNAL_FSYNC_MS": "1", "SURPLUS_JOURNAL_LOAD_MS": "1"}


class Fleet:
    """A control process and its workers."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def workers(self) -> list[dict[str, Any]]:
        return (await self.process.api("GET", "/status"))["workers"]

    async def all_ready(self, count: int = WORKERS) -> list[dict[str, Any]]:
        """The workers, once so many are ready."""
        async with asyncio.timeout(END_S):
            while True:
                found = await self.workers()
                if sum(worker["ready"] for worker in found) == count:
                    return found
                await asyncio.sleep(0.02)

    async def drained(self) -> None:
        """Wait until nothing is in flight and all journals are loaded."""
        async with asyncio.timeout(END_S):
            while True:
                status = await self.process.api("GET", "/status")
                if not status["in_flight"] and not status["journal_lag_bytes"]:
                    return
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def each(self, token: str | None = None) -> AsyncIterator[list[httpx.AsyncClient]]:
        """One client on each worker: a connection that is kept stays with the worker that took it."""
        wanted = {worker["pid"] for worker in await self.all_ready()}
        found: dict[int, httpx.AsyncClient] = {}
        spare: list[httpx.AsyncClient] = []
        headers = {"authorization": f"Bearer {token}"} if token else self.process.operator
        try:
            async with asyncio.timeout(END_S):
                while set(found) != wanted:
                    client = httpx.AsyncClient(
                        base_url=self.process.url,
                        headers=headers,
                        timeout=END_S,
                        limits=httpx.Limits(max_connections=1, keepalive_expiry=600),
                    )
                    await client.get("/healthz")
                    pid = owner(client, wanted)
                    if pid is None or pid in found:
                        spare.append(client)
                    else:
                        found[pid] = client
            yield [found[pid] for pid in sorted(found)]
        finally:
            for client in (*found.values(), *spare):
                await client.aclose()

    async def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{pid}").exists(), "the end of a worker")


def owner(client: httpx.AsyncClient, pids: set[int]) -> int | None:
    """Which of the processes holds the other end of a client's one connection."""
    (connection,) = client._transport._pool.connections
    stream = connection._connection._network_stream
    ours = stream.get_extra_info("client_addr")
    inode = _inode(ours[1])
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return pid
            except FileNotFoundError:
                continue
    return None


def _inode(peer_port: int) -> str | None:
    """The inode of the established socket whose other end has this port."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) == peer_port and fields[3] == "01":
            return fields[9]
    return None


@asynccontextmanager
async def fleet(data: Path, workers: int = WORKERS, **environment: str) -> AsyncIterator[Fleet]:
    """A server with workers that are all ready."""
    async with serving(data, SURPLUS_SERVER_WORKERS=str(workers), **{**QUICK, **environment}) as process:
        made = Fleet(process)
        if workers > 1:
            await made.all_ready(workers)
        yield made


@contextmanager
def books_of(data: Path) -> Iterator[Books]:
    """What is in a data directory that no server has open."""
    database = Database(data / bootstrap.DATABASE)
    try:
        yield Books(database, data)
    finally:
        database.close()


def check(books: Books, customer: Customer) -> dict[str, UsageRecord]:
    """Each record once, the sum of all charges exact, nothing held, nothing lost; returns the records by id."""
    records = books.records(customer.org)
    by_id = {record.id: record for record in records}
    assert len(by_id) == len(records)
    assert not [
        hold for hold in books.database.read_now(ledger.active_holds, limit=1000) if customer.org in hold.wallet
    ]
    charged = sum(record.charged_micro for record in records)
    assert charged == sum(record.cost_grains for record in records) // GRAINS_PER_MICRO
    assert not sum(record.overrun_micro for record in records)
    funds = books.funds(customer.org)
    assert (funds.held, funds.settled, funds.available) == (0, charged, 50_000_000 - charged)
    verdict = books.verify()
    assert verdict.ok, verdict.problems
    return by_id


def nothing_set_aside(books: Books) -> None:
    """After an end in good order no gateway has money left in a slice, and none counts as being at work."""
    for number in bootstrap.journals(books.data):
        name = bootstrap.known_gateway(bootstrap.journal_directory(books.data, number))
        assert books.database.read_now(ledger.slices_of, name) == []
    assert books.database.read_now(processes.standings) == []
