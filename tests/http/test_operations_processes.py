"""The life of a real server process: it starts, drains without a loss, and is killed without one."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from surplus import bootstrap
from surplus.kit.db import Database
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.model import Outcome, UsageRecord
from tests.http.processes import END_S, START_S, Books, Customer, Process, available, furnish, launch, serving
from tests.http.reading import BODIES, GENERATING, chat, read_stream
from tests.upstream import Fault, FaultyUpstream

pytestmark = pytest.mark.slow

STREAMS = 16
WHOLES = 8
TOKENS = 40


@dataclass
class Call:
    """One request under load, and what its caller has heard of it."""

    stream: bool
    request: str | None = None
    status: int | None = None
    body: bytes = b""
    cut: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, url: str, customer: Customer, path: str) -> None:
        body = BODIES[path](customer.model, stream=self.stream, max_tokens=TOKENS)
        headers = {"authorization": f"Bearer {customer.token}"}
        try:
            async with (
                httpx.AsyncClient(base_url=f"{url}/v1", headers=headers, timeout=END_S) as client,
                client.stream("POST", path, json=body) as answer,
            ):
                self.status, self.request = answer.status_code, answer.headers["x-request-id"]
                async for part in answer.aiter_bytes():
                    self.body += part
                    self.begun.set()
        except httpx.TransportError:
            self.cut = True
        finally:
            self.begun.set()

    @property
    def tokens(self) -> int:
        """What was delivered, cut off or not: whole events that said something."""
        chunks = [json.loads(line[6:]) for line in self.body.split(b"\n\n")[:-1] if line.startswith(b"data: {")]
        choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
        return sum(bool(choice.get("text") or choice.get("delta", {}).get("content")) for choice in choices)


@contextmanager
def _books(data: Path, store_url: str = "") -> Iterator[Books]:
    database = Database(store_url or data / bootstrap.DATABASE)
    try:
        yield Books(database, data)
    finally:
        database.close()


def _check(books: Books, customer: Customer) -> dict[str, UsageRecord]:
    """Each record once, each charged from its own hold, nothing held, nothing lost; returns the records by id."""
    records = books.records(customer.org)
    by_id = {record.id: record for record in records}
    assert len(by_id) == len(records)
    assert books.left() == []
    charged = sum(record.charged_micro for record in records)
    assert charged == sum(record.cost_grains for record in records) // GRAINS_PER_MICRO
    books.check_charges(records)
    assert [record for record in records if record.overrun_micro] == []
    funds = books.funds(customer.org)
    assert (funds.held, funds.settled, funds.available) == (0, charged, 50_000_000 - charged)
    verdict = books.verify()
    assert verdict.ok, verdict.problems
    return by_id


async def _load(process: Process, customer: Customer, upstream: FaultyUpstream) -> tuple[list[Call], asyncio.Future]:
    """Streams and whole answers in full flight: all of them at the engine, every stream has begun."""
    before = len(upstream.generations)
    calls = [Call(stream=number < STREAMS) for number in range(STREAMS + WHOLES)]
    runs = [call.run(process.url, customer, GENERATING[number % 2]) for number, call in enumerate(calls)]
    running = asyncio.gather(*runs)
    await upstream.arrived(before + len(calls))
    for call in calls[:STREAMS]:
        await call.begun.wait()
    return calls, running


@pytest.mark.parametrize(("engine", "store_kind"), [("openai", "sqlite"), ("vllm", "sqlite"), ("vllm", "postgres")])
async def test_b9_a_drain_under_load_loses_no_stream_and_no_record(tmp_path: Path, engine: str, store_url: str) -> None:
    data, store = tmp_path / "data", {"SURPLUS_STORE_URL": store_url}
    async with FaultyUpstream() as upstream:
        upstream.always(Fault.Answer(TOKENS), Fault.Paced(0.01))
        async with serving(data, **store) as process:
            customer = await furnish(process, upstream, engine, "tiny")
            calls, running = await _load(process, customer, upstream)
            assert await process.end(signal.SIGTERM) == 0
            await running
        generations = {seen.id: seen.generated_tokens for seen in upstream.generations}
    assert [call.cut for call in calls] == [False] * len(calls)
    for call in calls:
        assert call.status == 200
        assert (read_stream(call.body).tokens if call.stream else TOKENS) == TOKENS
    with _books(data, store_url) as books:
        records = _check(books, customer)
    assert set(records) == {call.request for call in calls}
    assert {record.outcome for record in records.values()} == {Outcome.COMPLETED}
    assert sum(record.usage.output for record in records.values()) == sum(generations.values())


@pytest.mark.parametrize(
    ("engine", "store_kind"),
    [("openai", "sqlite"), ("vllm", "sqlite"), ("llama-server", "sqlite"), ("openai", "postgres")],
)
async def test_b7_killed_under_load_every_request_has_one_record_and_no_hold_remains(
    tmp_path: Path, engine: str, store_url: str
) -> None:
    """Twice, on the same books: what was settled is exact; what was cut off has a record of what was delivered."""
    data, store = tmp_path / "data", {"SURPLUS_STORE_URL": store_url}
    async with FaultyUpstream() as upstream:
        upstream.always(Fault.Answer(TOKENS), Fault.Paced(0.02))
        async with serving(data, **store) as process:
            customer = await furnish(process, upstream, engine, "tiny")
            finished = Call(stream=True)
            await finished.run(process.url, customer, "/chat/completions")
            first, running = await _load(process, customer, upstream)
            await process.end(signal.SIGKILL)
            await running
        async with serving(data, **store) as process:
            await available(process, customer.model)
            second, running = await _load(process, customer, upstream)
            await process.end(signal.SIGKILL)
            await running
        async with serving(data, **store) as process:
            await available(process, customer.model)
            after = Call(stream=False)
            await after.run(process.url, customer, "/chat/completions")
            assert await process.end(signal.SIGTERM) == 0
        seen = len(upstream.generations)
        truth = upstream.usage
    with _books(data, store_url) as books:
        records = _check(books, customer)
    assert len(records) == seen
    for whole in (finished, after):
        assert records[whole.request].outcome is Outcome.COMPLETED
        assert (records[whole.request].usage.output, records[whole.request].degraded) == (TOKENS, False)
    cut = [call for call in (*first, *second) if call.stream]
    assert all(call.cut for call in cut)
    for call in cut:
        record = records[call.request]
        assert (record.outcome, record.degraded) == (Outcome.INTERRUPTED, True)
        assert call.tokens <= record.usage.output <= TOKENS
        assert record.usage.input > 0
    if engine != "openai":
        assert sum(record.usage.output for record in records.values()) <= truth.completion


async def _refused_start(data: Path, **environment: str) -> str:
    """What a server that does not start says; it has to end by itself, with 1."""
    log = data.parent / "refused.log"
    handle = await launch(data, log, **environment)
    async with asyncio.timeout(START_S):
        said, _ = await handle.communicate()
    assert handle.returncode == 1
    assert b"http://" not in said
    return log.read_text()


async def test_a12_two_servers_cannot_have_the_same_books(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as process:
        assert "another server" in await _refused_start(data)
        assert (await process.api("GET", "/status"))["ready"] is True


async def test_no_server_starts_whose_operators_key_cannot_be_written(tmp_path: Path) -> None:
    """And none is made in secret: once it can be written, the key in the file is one that works."""
    data = tmp_path / "data"
    (data / bootstrap.OPERATOR_KEY / "in the way").mkdir(parents=True)
    said = await _refused_start(data)
    assert str(data) in said
    assert "Traceback" not in said
    (data / bootstrap.OPERATOR_KEY / "in the way").rmdir()
    (data / bootstrap.OPERATOR_KEY).rmdir()
    async with serving(data) as process:
        assert (data / bootstrap.OPERATOR_KEY).stat().st_mode & 0o777 == 0o600
        assert (await process.api("GET", "/ledger/verify"))["ok"] is True


async def test_g12_nothing_is_open_without_a_key(tmp_path: Path) -> None:
    """There is no mode in which keys are off."""
    async with serving(tmp_path / "data") as process, httpx.AsyncClient(base_url=process.url) as client:
        for path in ("/v1/models", "/api/organizations", "/api/status", "/api/ledger/verify"):
            assert (await client.get(path)).status_code == 401
        assert (await client.post("/v1/chat/completions", json=chat("x"))).status_code == 401
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("SURPLUS_GATEWAY_SLOTS", "none", "must be a whole number"),
        ("SURPLUS_TRACING_ENDPOINT", "http://127.0.0.1:1", "has no effect while"),
    ],
)
async def test_b10_a_setting_that_cannot_take_effect_stops_the_start(
    tmp_path: Path, setting: str, value: str, said: str
) -> None:
    assert said in await _refused_start(tmp_path / "data", **{setting: value})
