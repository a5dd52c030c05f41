"""What changes while requests run, and whether everything that tells of them tells the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from surplus.billing.rating import TokenClass
from surplus.kit.money import format_dollars, parse_dollars
from surplus.metering.model import Outcome
from surplus.serving import service as deployments
from surplus.settings import Gateway, Server
from tests.http.harness import PATIENCE_S, Shop, quick
from tests.http.reading import BODIES, as_request, chat, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1), server=Server(drain_s=5, max_body_bytes=20_000))


async def _stalled(shop: Shop) -> asyncio.Task[httpx.Response]:
    """A stream in the middle of its answer; `shop.upstream.release` lets it go on."""
    shop.upstream.plan(Fault.StallAfter(4))
    before = len(shop.upstream.generations)
    running = asyncio.create_task(shop.post("/chat/completions", chat(shop.model, stream=True)))
    await shop.upstream.arrived(before + 1)
    return running


async def test_a_request_is_charged_at_the_price_that_held_when_it_was_admitted(shop: Shop) -> None:
    running = await _stalled(shop)
    dearer = await shop.price(shop.model, {TokenClass.INPUT: "200.00", TokenClass.OUTPUT: "800.00"})
    shop.upstream.release()
    cheap = await shop.record(await running)
    dear = await shop.record(await shop.post("/chat/completions", chat(shop.model)))
    assert (cheap.price_version, dear.price_version) == (shop.sheet.version, dearer.version)
    assert cheap.charged_micro == 2 * cheap.usage.input + 8 * 12
    assert dear.charged_micro == 100 * cheap.charged_micro


@pytest.mark.parametrize("change", [deployments.drain_deployment, deployments.delete_deployment])
async def test_a_deployment_that_goes_lets_its_streams_end(shop: Shop, change: Any) -> None:
    await shop.deploy("vllm", priority=7)
    first = min(shop.live.server.pool.deployments(shop.model), key=lambda deployment: deployment.priority)
    running = await _stalled(shop)
    await shop.live.change(change, first.id)
    other = await shop.post("/chat/completions", chat(shop.model))
    assert other.status_code == 200
    assert len(shop.upstreams[1].generations) == 1
    shop.upstream.release()
    assert read_stream((await running).content).tokens == 12
    assert (await shop.record(await running)).deployment == first.id


async def test_a_model_whose_last_deployment_is_gone_is_not_found(shop: Shop) -> None:
    (only,) = shop.live.server.pool.deployments(shop.model)
    await shop.live.change(deployments.drain_deployment, only.id)
    refusal(await shop.post("/chat/completions", chat(shop.model)), 404, "model_not_found")
    assert shop.model not in {one["id"] for one in (await (await shop.client()).get("/models")).json()["data"]}


@pytest.mark.parametrize("model", ["meta/llama-3:8b@fp8", "a.b_c-d"])
async def test_a_model_may_have_a_name_as_hubs_give_them(open_shop, model: str) -> None:
    shop = await open_shop("openai", model=model)
    sdk = await shop.sdk()
    assert (await sdk.models.retrieve(model)).id == model
    reply = await sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    assert reply.usage.completion_tokens == 12


async def _in_chunks(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), 1000):
        yield raw[start : start + 1000]


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_may_come_in_chunks_and_is_bounded_all_the_same(shop: Shop, path: str) -> None:
    client = await shop.client()
    good = json.dumps(BODIES[path](shop.model, "x" * 9000)).encode()
    assert (await client.post(path, content=_in_chunks(good))).status_code == 200
    large = json.dumps(BODIES[path](shop.model, "x" * 30_000)).encode()
    refusal(await client.post(path, content=_in_chunks(large)), 413, "too_large")
    assert len(shop.upstream.generations) == 1


@pytest.mark.parametrize("engine", ["vllm", "llama-server"])
async def test_every_choice_of_a_dropped_stream_is_charged(open_shop, engine: str) -> None:
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.StallAfter(3 + 7))
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True, n=3)))
    await caller.has(b" the")
    await shop.hang_up(caller)
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].gone.wait()
    record = await shop.only_record()
    assert (record.outcome, record.usage.output) == (Outcome.ABORTED, 7)
    assert record.usage.input == shop.upstream.generations[0].prompt_tokens


async def test_an_engine_of_ours_is_stopped_at_once_even_if_a_provider_stands_behind_it(open_shop) -> None:
    shop = await open_shop("vllm", "openai")
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
    await shop.upstream.arrived()
    await shop.hang_up(caller)
    async with asyncio.timeout(PATIENCE_S):
        await shop.upstream.generations[0].gone.wait()
    record = await shop.only_record()
    assert (record.outcome, record.degraded) == (Outcome.ABORTED, False)
    assert record.usage.input == shop.upstream.generations[0].prompt_tokens
    assert not shop.upstreams[1].generations


async def test_ledger_records_usage_balance_and_invoice_tell_the_same(shop: Shop) -> None:
    shop.upstream.plan(Fault.Cached(3), Fault.CutAfter(5), Fault.NoUsage(), Fault.ServerError(500), Fault.Healthy())
    for number in range(9):
        path = tuple(BODIES)[number % 3]
        fields = {"stream": True} if number == 2 and path != "/embeddings" else {}
        await shop.post(path, BODIES[path](shop.model, **fields))
    records = await shop.records()
    charged = format_dollars(sum(record.charged_micro for record in records))
    operator = {"authorization": f"Bearer {shop.live.operator_token}"}
    root = f"{shop.live.root}/api/organizations/{shop.org.id}"
    async with httpx.AsyncClient(base_url=root, headers=operator) as api:
        said = {name: (await api.get(f"/{name}")).json() for name in ("usage", "balance", "invoice", "records")}
    usage = said["usage"]
    assert (usage["requests"], usage["charged"]) == (9, charged)
    assert usage["input_tokens"] == sum(record.usage.input for record in records)
    assert usage["cached_input_tokens"] == sum(record.usage.cache_read for record in records)
    assert usage["output_tokens"] == sum(record.usage.output for record in records)
    assert [one["model"] for one in usage["models"]] == [shop.model]
    balance = {name: parse_dollars(amount) for name, amount in said["balance"].items()}
    assert balance["credit"] == balance["available"] + balance["held"] + balance["settled"] == 10_000_000
    assert (said["balance"]["settled"], said["invoice"]["total"]) == (charged, charged)
    assert said["invoice"]["requests"] == 9
    assert {one["id"]: one["charged"] for one in said["records"]} == {
        record.id: format_dollars(record.charged_micro) for record in records
    }
