"""Real server processes on PostgreSQL: it goes away and comes back, and servers share it."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from surplus import bootstrap
from surplus.doctor import examine
from surplus.kit.db import Database
from surplus.kit.money import GRAINS_PER_MICRO
from tests.http.processes import END_S, Books, Customer, Process, furnish, launch, serving
from tests.http.reading import chat
from tests.postgres import LOCKED, PASSWORD, Cluster
from tests.upstream import Fault, FaultyUpstream

pytestmark = pytest.mark.slow

TOKENS = 20
CALLERS = 8


@pytest.fixture
def store_kind() -> str:
    return "postgres"


async def _call(process: Process, customer: Customer) -> httpx.Response:
    headers = {"authorization": f"Bearer {customer.token}"}
    async with httpx.AsyncClient(base_url=f"{process.url}/v1", headers=headers, timeout=END_S) as client:
        return await client.post("/chat/completions", json=chat(customer.model, max_tokens=TOKENS))


async def _called(process: Process, customer: Customer, stop: asyncio.Event) -> list[httpx.Response]:
    """One caller after the other, until told to stop; a refusal is tried again a moment later."""
    heard: list[httpx.Response] = []
    while not stop.is_set():
        heard.append(await _call(process, customer))
        if heard[-1].status_code != 200:
            await asyncio.sleep(0.05)
    return heard


async def _good_answers(process: Process, customer: Customer, wanted: int) -> None:
    """Until so many requests in a row were answered well."""
    async with asyncio.timeout(END_S):
        good = 0
        while good < wanted:
            good = good + 1 if (await _call(process, customer)).status_code == 200 else 0


async def _not_ready(process: Process) -> None:
    async with httpx.AsyncClient(base_url=process.url) as client, asyncio.timeout(END_S):
        while True:
            if (await client.get("/readyz")).status_code == 503:
                return
            await asyncio.sleep(0.01)


def _check(data: Path, store_url: str, customer: Customer, answered: set[str]) -> None:
    """Every answer has its one record, nothing is held, and nothing was charged that has none."""
    database = Database(store_url)
    books = Books(database, data)
    records = books.records(customer.org)
    funds, verdict, left = books.funds(customer.org), books.verify(), books.left()
    database.close()
    assert answered <= {record.id for record in records}
    assert len({record.id for record in records}) == len(records)
    charged = sum(record.charged_micro for record in records)
    assert charged == sum(record.cost_grains for record in records) // GRAINS_PER_MICRO
    assert (funds.settled, funds.credit) == (charged, 50_000_000)
    assert not left
    assert verdict.ok, verdict.problems


@pytest.mark.timeout(180)
async def test_the_database_is_restarted_under_load_and_nothing_is_lost(
    tmp_path: Path, store_url: str, cluster: Cluster
) -> None:
    """While it is away requests are answered from what is drawn, or refused as unavailable; then all is as before."""
    async with FaultyUpstream() as upstream:
        upstream.always(Fault.Answer(TOKENS))
        async with serving(tmp_path / "data", SURPLUS_STORE_URL=store_url) as process:
            customer = await furnish(process, upstream, "openai", "tiny")
            await _good_answers(process, customer, 5)
            stop = asyncio.Event()
            callers = [asyncio.create_task(_called(process, customer, stop)) for _ in range(CALLERS)]
            for number in (signal.SIGQUIT, signal.SIGINT):  # a crash, and a restart in good order
                cluster.stop(number)
                try:
                    await _not_ready(process)
                finally:
                    cluster.start()
                await process.ready()
                await _good_answers(process, customer, 10)
            stop.set()
            heard = [answer for answers in await asyncio.gather(*callers) for answer in answers]
            assert await process.end(signal.SIGTERM) == 0
    assert {answer.status_code for answer in heard} <= {200, 429, 503}
    answered = {answer.headers["x-request-id"] for answer in heard if answer.status_code == 200}
    assert len(answered) > CALLERS
    _check(tmp_path / "data", store_url, customer, answered)


async def test_two_servers_that_start_at_one_time_share_an_empty_database(tmp_path: Path, store_url: str) -> None:
    """Each with a data directory and a journal of its own; one of them made the operator's key."""
    store = {"SURPLUS_STORE_URL": store_url}
    async with (
        FaultyUpstream() as upstream,
        asyncio.timeout(2 * END_S),
        serving(tmp_path / "one", **store) as one,
        serving(tmp_path / "two", **store) as two,
    ):
        upstream.always(Fault.Answer(TOKENS))
        assert not (tmp_path / "two" / bootstrap.OPERATOR_KEY).exists()
        customer = await furnish(one, upstream, "openai", "tiny")
        answers = await asyncio.gather(*(_call(one, customer) for _ in range(10)))
        await _good_answers(two, customer, 10)
        assert {answer.status_code for answer in answers} == {200}
        assert await one.end(signal.SIGKILL) != 0
        await _good_answers(two, customer, 3)
        assert await two.end(signal.SIGTERM) == 0
    async with serving(tmp_path / "one", **store) as one:  # it has something in its journal, perhaps
        assert await one.end(signal.SIGTERM) == 0
    _check(tmp_path / "one", store_url, customer, {answer.headers["x-request-id"] for answer in answers})


async def test_the_first_start_of_two_at_the_same_instant(tmp_path: Path, store_url: str) -> None:
    """Nobody fails over the other's schema."""
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    started = await asyncio.gather(*(launch(log.with_suffix(""), log, SURPLUS_STORE_URL=store_url) for log in logs))
    try:
        async with asyncio.timeout(END_S):
            said = [await handle.stdout.readline() for handle in started]
        assert all(b"http://" in line for line in said), [log.read_text() for log in logs]
    finally:
        for handle in started:
            handle.terminate()
            await handle.wait()


async def test_the_password_comes_from_where_libpq_looks_and_is_never_told(
    tmp_path: Path, store_url: str, cluster: Cluster
) -> None:
    name = store_url.rpartition("/")[2]
    cluster.sql(f"ALTER DATABASE {name} OWNER TO {LOCKED}")
    address = cluster.text(name, user=LOCKED)
    with_password = {"SURPLUS_STORE_URL": address, "PGPASSWORD": PASSWORD}
    async with serving(tmp_path / "data", **with_password) as process:
        assert (await process.api("GET", "/status"))["ready"] is True
        log = process.log
    assert PASSWORD not in log.read_text()
    handle = await launch(tmp_path / "other", log, SURPLUS_STORE_URL=address, PGPASSWORD="hunter2-not")
    async with asyncio.timeout(END_S):
        await handle.communicate()
    assert handle.returncode == 1
    assert "password authentication failed" in log.read_text()
    assert "hunter2" not in log.read_text()


def test_the_doctor_looks_at_it(tmp_path: Path, store_url: str) -> None:
    data = tmp_path / "data"
    environment = {"SURPLUS_STORE_URL": store_url, "SURPLUS_SERVER_PORT": "0"}
    database = bootstrap.open_store(data, store_url)
    database.close()
    checks = {check.name: check for check in examine(data=data, environment=environment)}
    assert checks["database"].state == "warning"
    assert "PostgreSQL" in checks["database"].finding
    assert "fsync is off" in checks["database"].finding
    assert {checks[name].state for name in ("schema", "ledger", "clock")} == {"ok"}
    away = {**environment, "SURPLUS_STORE_URL": store_url.rpartition("/")[0] + "/nowhere"}
    checks = {check.name: check for check in examine(data=data, environment=away)}
    assert checks["database"].state == "failed"
    assert "make the database in it" in checks["database"].remedy
