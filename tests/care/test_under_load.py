"""A backup of a real server that is selling, and what a server makes of it."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from surplus import bootstrap
from surplus.kit.clock import parse_iso
from surplus.kit.db import Database
from surplus.ledger import service as ledger
from surplus.metering import service as metering
from surplus.metering.model import Outcome, UsageRecord
from tests.http.harness import CLOCK
from tests.http.processes import END_S, Books, Customer, Process, available, furnish, serving
from tests.http.reading import chat
from tests.upstream import Fault, FaultyUpstream

pytestmark = pytest.mark.slow

CALLERS = 8
TOKENS = 12


async def surplus(*arguments: str, status: int = 0) -> Any:
    """Run one command; its answer as JSON, or what it said on stderr where it has to fail."""
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "surplus", *arguments, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    async with asyncio.timeout(END_S):
        said, complained = await made.communicate()
    assert made.returncode == status, complained.decode()
    return json.loads(said) if status == 0 else complained.decode()


class Load:
    """Callers who buy one answer after the other; `answered` is when (epoch seconds) each heard its last byte."""

    def __init__(self, process: Process, customer: Customer) -> None:
        self._process, self._customer = process, customer
        self.answered: dict[str, float] = {}
        self.stopping = False

    async def run(self) -> None:
        await asyncio.gather(*(self._buy(bool(number % 2)) for number in range(CALLERS)))

    async def _buy(self, stream: bool) -> None:
        headers = {"authorization": f"Bearer {self._customer.token}"}
        async with httpx.AsyncClient(base_url=f"{self._process.url}/v1", headers=headers, timeout=END_S) as client:
            while not self.stopping:
                body = chat(self._customer.model, stream=stream, max_tokens=TOKENS)
                answer = await client.post("/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                self.answered[answer.headers["x-request-id"]] = CLOCK.now()

    async def reached(self, count: int) -> None:
        """Wait until so many have been answered."""
        async with asyncio.timeout(END_S):
            while True:
                if len(self.answered) >= count:
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def selling(process: Process, customer: Customer) -> AsyncIterator[Load]:
    load = Load(process, customer)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stopping = True
        await running


def _all_records(database: Database, org: str) -> list[UsageRecord]:
    found: list[UsageRecord] = []
    while page := database.read_now(metering.records, org=org, before=found[-1].id if found else None, limit=1000):
        found += page
    return found


def _records(data: Path, customer: Customer) -> dict[str, UsageRecord]:
    """The books of a stopped server: sound, nothing held, each record once, and their sum charged."""
    database = Database(data / bootstrap.DATABASE)
    try:
        books = Books(database, data)
        verdict = books.verify()
        assert verdict.ok, verdict.problems
        assert database.read_now(ledger.active_holds) == []
        records = _all_records(database, customer.org)
        charged = sum(record.charged_micro for record in records)
        funds = books.funds(customer.org)
        assert (funds.held, funds.settled, funds.available) == (0, charged, 50_000_000 - charged)
    finally:
        database.close()
    assert len({record.id for record in records}) == len(records)
    return {record.id: record for record in records}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
async def test_what_was_answered_before_a_backup_is_in_it_exactly_once(tmp_path: Path, workers: int) -> None:
    data, restored = tmp_path / "data", tmp_path / "restored"
    async with FaultyUpstream() as upstream:
        upstream.always(Fault.Answer(TOKENS), Fault.Paced(0.005))
        async with serving(data, SURPLUS_SERVER_WORKERS=str(workers)) as process:
            customer = await furnish(process, upstream, "vllm", "tiny")
            backups = []
            async with selling(process, customer) as load:
                for number in range(2):
                    await load.reached(len(load.answered) + 100)
                    begun = CLOCK.now()
                    place = tmp_path / f"backup{number}"
                    backups.append((begun, place, await surplus("backup", str(place), "--data", str(data))))
            assert await process.end(signal.SIGTERM) == 0
        truth = _records(data, customer)
        assert set(truth) == set(load.answered)
        for begun, place, said in backups:
            target = restored.with_name(place.name + "-restored")
            told = await surplus("restore", str(place), "--data", str(target))
            assert told["head"] == said["head"]
            await surplus("operator-key", "reset", "--data", str(target))
            async with serving(target) as process:
                assert (await process.api("GET", "/ledger/verify"))["ok"] is True
                assert await process.end(signal.SIGTERM) == 0
            _check(_records(target, customer), truth, load.answered, begun=begun, said=said)


def _check(
    found: dict[str, UsageRecord],
    truth: dict[str, UsageRecord],
    answered: dict[str, float],
    *,
    begun: float,
    said: dict[str, Any],
) -> None:
    """Every request that was answered before the backup began is there as it was; none is there that came after."""
    before = {request for request, at in answered.items() if at <= begun}
    taken_at = parse_iso(said["taken_at"])
    assert before <= set(found) <= set(truth)
    assert before
    for request, record in found.items():
        if record.outcome is Outcome.COMPLETED:
            assert (record.usage, record.cost_grains) == (truth[request].usage, truth[request].cost_grains)
        else:
            assert record.outcome is Outcome.INTERRUPTED
            assert request not in before
            assert record.usage.output <= truth[request].usage.output
        assert record.started_at <= taken_at
    interrupted = [record for record in found.values() if record.outcome is Outcome.INTERRUPTED]
    assert len(interrupted) == said["in_flight"] <= CALLERS


@pytest.mark.timeout(240)
async def test_unsound_books_are_not_sold_on(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with FaultyUpstream() as upstream:
        upstream.always(Fault.Answer(TOKENS))
        async with serving(data) as process:
            customer = await furnish(process, upstream, "vllm", "tiny")
            async with selling(process, customer) as load:
                await load.reached(10)
            await surplus("backup", str(tmp_path / "backup"), "--data", str(data), "--with-operator-key")
            await surplus("restore", str(tmp_path / "backup"), "--data", str(copy))
            with closing(sqlite3.connect(copy / bootstrap.DATABASE)) as connection:
                connection.execute("UPDATE ledger_account SET credits = credits + 1 WHERE kind = 'wallet'")
                connection.commit()
            await _closed_shop(copy, customer)
            done = await surplus("ledger", "rebuild", "--data", str(copy))
            assert (done["rebuilt"], done["ok"], len(done["mended"])) == (True, True, 1)
            async with serving(copy) as mended:
                await available(mended, customer.model)
                async with selling(mended, customer) as load:
                    await load.reached(3)
                refused = await surplus("ledger", "rebuild", "--data", str(copy), status=1)
                assert "another server runs" in refused


async def _listens(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(END_S):
        while True:
            try:
                await client.get("/healthz")
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
            else:
                return


async def _closed_shop(data: Path, customer: Customer) -> None:
    log = data.with_suffix(".log")
    with log.open("ab") as stderr:
        handle = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "surplus", "serve", "--data", str(data), "--port", "0"),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        url = (await handle.stdout.readline()).decode().split()[-1]
        process = Process(handle, data, url, log)
        async with httpx.AsyncClient(base_url=url, timeout=END_S) as client:
            await _listens(client)
            headers = {"authorization": f"Bearer {customer.token}"}
            answer = await client.post("/v1/chat/completions", json=chat(customer.model), headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ledger_violation")
            assert answer.headers["x-should-retry"] == "false"
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert "surplus ledger rebuild" in " ".join(ready.json()["why"])
            metrics = (await client.get("/metrics")).text
        assert "surplus_ledger_violations 1.0" in metrics
        status = await process.api("GET", "/status")
        assert status["ledger"]["state"] == "unsound"
        assert "Account" in status["ledger"]["problems"][0]
        assert "nothing more is sold" in log.read_text()
    finally:
        handle.terminate()
        await handle.wait()
