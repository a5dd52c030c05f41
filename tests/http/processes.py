"""`surplus serve` as a process of its own, set up over its control plane, and its books read after its end."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from surplus import bootstrap
from surplus.app import money
from surplus.app.money import Funds
from surplus.kit.db import Database
from surplus.kit.journal import Journal
from surplus.ledger import service as ledger
from surplus.ledger.model import Hold, Slice, Verification
from surplus.metering import service as metering
from surplus.metering.model import UsageRecord
from tests.http.harness import CLOCK
from tests.http.holding import admissions, check_charges
from tests.upstream import FaultyUpstream

START_S = 30
END_S = 30
_ADDRESS = re.compile(r"at (http://\S+)")


@dataclass
class Process:
    """A server that runs, or has ended."""

    handle: asyncio.subprocess.Process
    data: Path
    url: str
    log: Path

    @property
    def operator(self) -> dict[str, str]:
        token = (self.data / bootstrap.OPERATOR_KEY).read_text().strip()
        return {"authorization": f"Bearer {token}"}

    async def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of the control plane as the operator; it has to be good."""
        async with httpx.AsyncClient(base_url=self.url, headers=self.operator, timeout=END_S) as client:
            answer = await client.request(method, f"/api{path}", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def ready(self) -> None:
        """Wait until it says that it is ready; fails after START_S."""
        async with httpx.AsyncClient(base_url=self.url, timeout=START_S) as client, asyncio.timeout(START_S):
            while True:
                try:
                    if (await client.get("/readyz")).status_code == 200:
                        return
                except httpx.ConnectError:
                    assert self.handle.returncode is None, self.log.read_text()
                await asyncio.sleep(0.01)

    async def end(self, number: int) -> int:
        """Send a signal; returns the exit status."""
        os.kill(self.handle.pid, number)
        async with asyncio.timeout(END_S):
            return await self.handle.wait()


async def launch(data: Path, log: Path, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start `surplus serve` on a free port."""
    with log.open("ab") as stderr:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "surplus", "serve", "--data", str(data), "--port", "0", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
        )


@asynccontextmanager
async def serving(data: Path, **environment: str) -> AsyncIterator[Process]:
    """A server process that is ready; ended by force if the test has not ended it."""
    log = data.with_suffix(".log")
    handle = await launch(data, log, **environment)
    try:
        async with asyncio.timeout(START_S):
            said = (await handle.stdout.readline()).decode()
        address = _ADDRESS.search(said)
        assert address is not None, log.read_text()
        process = Process(handle, data, address[1], log)
        await process.ready()
        yield process
    finally:
        if handle.returncode is None:
            handle.kill()
        await handle.wait()


@dataclass(frozen=True)
class Customer:
    """Somebody who may call a model."""

    org: str
    token: str
    model: str


async def furnish(process: Process, upstream: FaultyUpstream, engine: str, model: str) -> Customer:
    """A model on an engine with a price, and a customer with credit and a key; ready to be called."""
    org = await process.api("POST", "/organizations", {"name": f"customer of {model}", "credit": "50"})
    key = await process.api("POST", f"/organizations/{org['id']}/keys", {"concurrency": 1000, "budget": "40"})
    await process.api("POST", "/prices", {"model": model, "input": "2", "cache_read": "0.5", "output": "8"})
    spec = {"model": model, "engine": engine, "url": upstream.url, "context": 4096, "max_output": 64, "slots": 64}
    await process.api("POST", "/deployments", {**spec, "upstream_model": "tiny-chat"})
    await available(process, model)
    return Customer(org["id"], key["key"], model)


async def available(process: Process, model: str) -> None:
    """Wait until a replica of the model takes requests."""
    async with asyncio.timeout(START_S):
        while True:
            if any(one["id"] == model and one["ready"] for one in await process.api("GET", "/models")):
                return
            await asyncio.sleep(0.01)


@dataclass
class Books:
    """What is in a data directory that no server has open."""

    database: Database
    data: Path

    def records(self, org: str) -> list[UsageRecord]:
        return self.database.read_now(metering.records, org=org, limit=1000)

    def funds(self, org: str) -> Funds:
        return self.database.read_now(money.funds, org, now=CLOCK.now())

    def check_charges(self, records: Sequence[UsageRecord]) -> None:
        """Each was charged once, from what it held itself."""
        journal = Journal.open(self.data / bootstrap.JOURNAL)
        try:
            self.database.read_now(check_charges, records, admissions(journal))
        finally:
            journal.close()

    def left(self) -> list[Hold | Slice]:
        """Holds that have not ended, and slices that nobody gave back."""
        gateway = bootstrap.known_gateway(self.data / bootstrap.JOURNAL)
        slices = self.database.read_now(ledger.slices_of, gateway)
        return [*self.database.read_now(ledger.active_holds, limit=1000), *slices]

    def verify(self) -> Verification:
        return self.database.read_now(ledger.verify)
