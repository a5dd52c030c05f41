"""What must not grow: work with records, tasks with tokens, memory with keys; and a database that is slow or locked."""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import httpx
import pytest
from sqlalchemy import Engine, event

from surplus.app.keys import KeySpec
from surplus.billing.budgets import BudgetScope, Period
from surplus.bootstrap.data import DATABASE
from surplus.identity.model import Limits
from surplus.settings import Gateway, Server
from tests.http.harness import PATIENCE_S, WIDE, Live, Shop, eventually, quick
from tests.http.reading import chat, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1), server=Server(drain_s=5, max_body_bytes=16 * 2**20))
CHAT = "/chat/completions"
GROWING = ("metering_record", "ledger_entry", "ledger_batch", "ledger_hold", "kit_outbox")
"""Tables that get rows with every request."""


@contextmanager
def _selects() -> Iterator[dict[str, object]]:
    """Every SELECT that any database runs inside, with parameters that it was run with."""
    seen: dict[str, object] = {}

    def note(connection, cursor, statement, parameters, context, executemany) -> None:
        if statement.lstrip().startswith("SELECT") and not executemany:
            seen[statement] = parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _walks(live: Live, selects: dict[str, object]) -> list[str]:
    """Statements that read a growing table from end to end, as the query planner says."""
    found: list[str] = []
    with closing(sqlite3.connect(live.data / DATABASE)) as books:
        for statement, parameters in selects.items():
            plan = [row[3] for row in books.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] in GROWING]
            if scans and "LIMIT" not in statement:
                found.append(f"{scans}: {statement}")
    return found


@asynccontextmanager
async def _locked(live: Live) -> AsyncIterator[None]:
    """Somebody else has the database's only write lock."""
    with closing(sqlite3.connect(live.data / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_e1_requests_and_changes_of_budgets_do_not_stand_in_each_others_way(open_shop) -> None:
    """Everything in flight spends from the same three budgets while they are changed; nothing deadlocks or fails."""
    shop = await open_shop("openai", key=KeySpec(project="web", limits=WIDE))
    scopes = {
        BudgetScope.ORGANIZATION: shop.org.id,
        BudgetScope.PROJECT: shop.key.project,
        BudgetScope.KEY: shop.key.id,
    }
    client = await shop.client()

    async def change(number: int) -> None:
        for scope, scope_id in scopes.items():
            await shop.set_budget(scope=scope, scope_id=scope_id, cap_micro=5_000_000 + number, period=Period.FOREVER)

    calls = [client.post(CHAT, json=chat(shop.model, stream=number % 2 == 0)) for number in range(60)]
    answers, *_ = await asyncio.gather(asyncio.gather(*calls), *(change(number) for number in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await shop.records()) == 60


async def test_e2_a_locked_database_does_not_stop_keys_that_are_known(shop: Shop) -> None:
    """Their money is in a slice and their records in the journal; the database gets them when it can."""
    await shop.post(CHAT, chat(shop.model))
    await shop.live.quiet()
    async with _locked(shop.live), asyncio.timeout(PATIENCE_S):
        answers = [await shop.post(CHAT, chat(shop.model, stream=number % 2 == 0)) for number in range(6)]
        assert shop.live.server.loader.lag_bytes > 0
    assert {answer.status_code for answer in answers} == {200}
    assert len(await shop.records()) == 7


async def test_e2_a_key_that_is_not_known_is_looked_up_while_the_database_is_locked(shop: Shop) -> None:
    """A writer stands in no reader's way; a wrong key is told so, a right one is not called wrong."""
    token = (await shop.new_key()).token
    async with _locked(shop.live), asyncio.timeout(PATIENCE_S):
        client = await shop.client(token)
        answer = await client.post(CHAT, json=chat(shop.model))
        assert answer.status_code in (200, 503), answer.text
        wrong = await (await shop.client(f"{token[:-4]}0000")).post(CHAT, json=chat(shop.model))
        refusal(wrong, 401, "invalid_api_key")


async def test_e3_no_request_and_no_report_walks_through_what_grows(shop: Shop) -> None:
    """Balances and sums are kept as rows: the work is the same after one request and after a million."""
    for _ in range(3):
        await shop.post(CHAT, chat(shop.model))
    await shop.records()
    live = shop.live
    headers = {"authorization": f"Bearer {live.operator_token}"}
    org = f"/api/organizations/{shop.org.id}"
    live.server.path.access.forget()  # as after a start, or a change of any key
    with _selects() as selects:
        assert (await shop.post(CHAT, chat(shop.model))).status_code == 200
        await live.quiet()
        asked = len(selects)
        async with httpx.AsyncClient(base_url=live.root, headers=headers) as client:
            pages = ("", "/usage", "/balance", "/records", "/budgets", "/keys", "/entries")
            for path in (*(f"{org}{page}" for page in pages), "/api/status", "/api/organizations"):
                answer = await client.get(path)
                assert answer.status_code == 200, (path, answer.text)
    assert 3 < asked < len(selects)
    assert _walks(live, selects) == []


async def test_e4_no_list_is_without_an_end(shop: Shop) -> None:
    await shop.post(CHAT, chat(shop.model))
    await shop.records()
    headers = {"authorization": f"Bearer {shop.live.operator_token}"}
    async with httpx.AsyncClient(base_url=shop.live.root, headers=headers) as client:
        for page in ("records", "entries"):
            path = f"/api/organizations/{shop.org.id}/{page}"
            assert (await client.get(path, params={"limit": 1})).status_code == 200
            assert (await client.get(path, params={"limit": 1_000_000})).status_code == 400


async def test_e7_what_is_kept_of_a_key_is_forgotten_when_it_is_not_used(open_shop) -> None:
    """Leases within a second, slices of money within some; an organization that is back gets new ones."""
    shop = await open_shop("openai")
    server = shop.live.server
    client = await shop.client()
    spec = {"limits": Limits(concurrency=5), "budget_micro": 1_000_000}
    made = [await shop.new_key(**spec) for _ in range(25)]
    for one in made:
        headers = {"authorization": f"Bearer {one.token}"}
        assert (await client.post(CHAT, json=chat(shop.model), headers=headers)).status_code == 200
    await shop.live.quiet()
    ids = {one.key.id for one in made}
    await eventually(lambda: not ids & server.path.limiter._keys.keys(), "leases to be forgotten")
    await eventually(lambda: not server.funds._by_id, "slices to be given back")
    funds = await shop.funds()
    assert (funds.held, funds.credit) == (0, funds.available + funds.settled)
    assert (await client.post(CHAT, json=chat(shop.model), headers=headers)).status_code == 200


async def test_e7_nothing_is_kept_of_keys_that_do_not_exist(shop: Shop) -> None:
    server = shop.live.server
    await shop.post(CHAT, chat(shop.model))
    before = len(server.path.access._known), len(server.path.limiter._keys), len(server.funds._by_id)
    client = await shop.client()
    for _ in range(200):
        token = f"sk-{secrets.token_hex(8)}-{secrets.token_hex(24)}"
        answer = await client.post(CHAT, json=chat(shop.model), headers={"authorization": f"Bearer {token}"})
        refusal(answer, 401, "invalid_api_key")
    after = len(server.path.access._known), len(server.path.limiter._keys), len(server.funds._by_id)
    assert all(now <= was for now, was in zip(after, before, strict=True))


@pytest.mark.parametrize("engine", ["openai", "vllm", "llama-server"])
async def test_e8_tokens_cost_no_tasks_and_no_threads(open_shop, engine: str) -> None:
    """A stream of five hundred tokens takes as many tasks as one of five."""
    shop = await open_shop(engine, max_output=600)
    client = await shop.client()
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def count(owner: asyncio.AbstractEventLoop, work, **given: object) -> asyncio.Task:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=owner, **given)

    async def tasks_of(tokens: int) -> int:
        shop.upstream.plan((Fault.Answer(tokens), Fault.Paced(0.0005)))
        made.clear()
        answer = await client.post(CHAT, json=chat(shop.model, stream=True, max_tokens=tokens))
        assert read_stream(answer.content).tokens == tokens
        return len([name for name in made if name != "Event.wait"])  # which is how the test's engine waits

    await tasks_of(5)
    loop.set_task_factory(count)
    try:
        few, many = await tasks_of(5), await tasks_of(500)
    finally:
        loop.set_task_factory(None)
    assert many <= few + 25, (few, many)


async def test_e9_large_bodies_pass_as_they_are_and_small_ones_beside_them(open_shop) -> None:
    """Images in base64, several megabytes each: what the engine gets is what was sent, whatever else goes on."""
    shop = await open_shop("vllm", "vllm")
    client = await shop.client()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 400_000}}
    large = chat(shop.model)
    large["messages"][0]["content"] = [{"type": "text", "text": "What is this?"}, image]
    calls = [client.post(CHAT, json=large) for _ in range(4)]
    calls += [client.post(CHAT, json=chat(shop.model, stream=True)) for _ in range(20)]
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    seen = [one for upstream in shop.upstreams for one in upstream.generations if len(one.raw) > 4_000_000]
    assert len(seen) == 4
    sent = json.dumps(large["messages"], separators=(",", ":"), ensure_ascii=False).encode()
    assert all(sent in one.raw for one in seen)


async def test_e9_many_open_connections_do_not_keep_others_out(shop: Shop) -> None:
    callers = [await shop.dial(b"") for _ in range(400)]
    answers = [await shop.post(CHAT, chat(shop.model, stream=number % 2 == 0)) for number in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    for caller in callers:
        caller.leave()
