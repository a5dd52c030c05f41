"""What an operator sees of a server, how it recovers, and what it remembers; all in the test's own process."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from surplus.billing.budgets import BudgetScope, Period
from surplus.kit.money import format_dollars
from surplus.settings import Gateway, Settings
from tests.http.books import check_books
from tests.http.harness import Live, Shop, eventually, opened, quick, running
from tests.http.reading import BODIES, as_request, chat, read_stream, refusal
from tests.upstream import Fault

SETTINGS = quick(gateway=Gateway(attempts=1))


@asynccontextmanager
async def _shop(data: Path, settings: Settings = SETTINGS) -> AsyncIterator[Shop]:
    """A server of the test's own, with a shop in it."""
    async with running(data, settings) as live, opened(live, "openai") as shop:
        yield shop
        await check_books(shop)


async def _get(live: Live, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=live.root) as client:
        return await client.get(path)


async def _metrics(shop: Shop) -> dict[str, float]:
    """Every sample that is about the shop's model or about no model, by name and further labels."""
    await shop.live.quiet()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families((await _get(shop.live, "/metrics")).text):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name not in {"model", "le"}}
            if sample.labels.get("model", shop.model) == shop.model:
                found[":".join((sample.name, *labels.values()))] = sample.value
    return found


async def test_a_server_says_that_it_is_well_and_ready(tmp_path: Path) -> None:
    async with running(tmp_path, SETTINGS) as live:
        assert (await _get(live, "/healthz")).json() == {"status": "ok"}
        answer = await _get(live, "/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "why": []})


async def test_what_is_sold_shows_in_the_metrics(tmp_path: Path) -> None:
    async with _shop(tmp_path) as shop:
        shop.upstream.plan(Fault.Cached(4), Fault.NoUsage(), Fault.ServerError(500))
        for number, path in enumerate(("/chat/completions", "/chat/completions", "/completions")):
            await shop.post(path, BODIES[path](shop.model, stream=number == 1))
        refusal(await shop.post("/chat/completions", chat("none")), 404, "model_not_found")
        records = await shop.records()
        seen = await _metrics(shop)
    cost = sum(record.cost_micro for record in records) / 1e6
    assert seen["surplus_cost_dollars_total"] == pytest.approx(cost, abs=1e-6)
    assert seen["surplus_tokens_total:cache_read"] == 4
    assert seen["surplus_tokens_total:output"] == sum(record.usage.output for record in records)
    assert seen["surplus_requests_total:chat.completions:completed"] == 2
    assert seen["surplus_requests_total:completions:failed"] == 1
    assert seen["surplus_refused_total:model_not_found"] == 1
    assert seen["surplus_degraded_records_total"] == 1
    assert seen["gen_ai_server_time_to_first_token_seconds_count:chat.completions"] == 2
    assert (seen["surplus_in_flight"], seen["surplus_slots_in_use"]) == (0, 0)
    assert (seen["surplus_journal_lag_bytes"], seen["surplus_unwritten_settlements"]) == (0, 0)


async def test_what_runs_shows_in_the_metrics(tmp_path: Path) -> None:
    async with _shop(tmp_path) as shop:
        shop.upstream.plan(Fault.StallAfter(3))
        caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
        await caller.has(b"Hello")
        text = (await _get(shop.live, "/metrics")).text
        assert "surplus_in_flight 1.0" in text
        assert "surplus_slots_in_use 1.0" in text
        shop.upstream.release()
        await caller.has(b"[DONE]")


async def test_a_server_whose_books_do_not_answer_is_not_ready_but_alive(tmp_path: Path) -> None:
    async with _shop(tmp_path) as shop:
        live = shop.live
        with closing(sqlite3.connect(live.server.database.location)) as books:
            books.execute("ALTER TABLE kit_revision RENAME TO away")
            await eventually(lambda: live.server.refresh.stale, "the server to notice")
            answer = await _get(live, "/readyz")
            assert (answer.status_code, answer.json()["ready"]) == (503, False)
            assert "database" in answer.json()["why"][0]
            assert (await _get(live, "/healthz")).status_code == 200
            books.execute("ALTER TABLE away RENAME TO kit_revision")
        await eventually(lambda: not live.server.refresh.stale, "the server to recover")
        assert (await _get(live, "/readyz")).status_code == 200


async def test_a_server_that_drains_lets_streams_end_and_takes_no_new_requests(tmp_path: Path) -> None:
    async with _shop(tmp_path) as shop:
        shop.upstream.plan(Fault.StallAfter(3))
        stream = asyncio.create_task(shop.post("/chat/completions", chat(shop.model, stream=True)))
        await shop.upstream.arrived()
        shop.live.server.path.draining = True
        refused = await shop.post("/chat/completions", chat(shop.model))
        refusal(refused, 503, "draining")
        assert refused.headers["retry-after"] == "1"
        assert (await _get(shop.live, "/readyz")).json()["why"] == ["shutting down"]
        shop.upstream.release()
        assert read_stream((await stream).content).tokens == 12
        assert (await shop.only_record()).usage.output == 12


async def test_a11_what_was_spent_is_still_spent_after_a_restart(tmp_path: Path) -> None:
    async with _shop(tmp_path) as shop:
        record = await shop.record(await shop.post("/chat/completions", chat(shop.model)))
        held = (await shop.hold(record.id)).amount
        key = shop.key.id
        await shop.set_budget(scope=BudgetScope.KEY, scope_id=key, cap_micro=held, period=Period.MONTH)
        spent = await shop.record(await shop.post("/chat/completions", chat(shop.model)))
        before = await shop.funds()
    async with running(tmp_path, SETTINGS) as live, AsyncExitStack() as stack:
        again = replace(shop, live=live, stack=stack, upstreams=[])
        await again.deploy("openai")
        assert await again.funds() == before
        assert len(await again.records()) == 2
        error = refusal(await again.post("/chat/completions", chat(shop.model)), 429, "insufficient_quota")
        assert f"{format_dollars(held - spent.charged_micro)} USD available" in error["message"]
        assert (await live.verify()).ok


async def test_b7_what_the_books_do_not_take_now_is_kept_and_loaded_later(tmp_path: Path) -> None:
    """The journal has it until it is committed, and nothing is taken out before."""
    async with _shop(tmp_path) as shop:
        await shop.post("/chat/completions", chat(shop.model))
        with closing(sqlite3.connect(shop.live.server.database.location)) as books:
            books.execute("ALTER TABLE metering_record RENAME TO away")
            answer = await shop.post("/chat/completions", chat(shop.model))
            assert answer.status_code == 200
            await eventually(lambda: shop.live.server.loader.lag_bytes, "the journal to run ahead")
            books.execute("ALTER TABLE away RENAME TO metering_record")
        assert (await shop.record(answer)).usage.output == 12
        assert len(await shop.records()) == 2
