"""What customers see of a server with workers is what they see of one without; limits and budgets are exact."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from surplus.kit.money import parse_dollars
from tests.http.fleets import Fleet, books_of, check, fleet, nothing_set_aside
from tests.http.processes import END_S, Customer, furnish
from tests.http.reading import chat, read_stream
from tests.upstream import Fault, FaultyUpstream

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """One server for all tests of this file; its end is in order, and its books are sound."""
    data = tmp_path_factory.mktemp("server") / "data"
    async with fleet(data) as running:
        yield running
        assert await running.process.end(signal.SIGTERM) == 0
    with books_of(data) as books:
        nothing_set_aside(books)
        verdict = books.verify()
        assert verdict.ok, verdict.problems


async def _model(made: Fleet, upstream: FaultyUpstream, model: str) -> Customer:
    return await furnish(made.process, upstream, "vllm", model)


async def test_an_sdk_talks_to_every_worker_and_each_request_is_recorded_once(made: Fleet) -> None:
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-0")
        heard = []
        async with made.each(customer.token) as clients:
            for client in clients:
                for _ in range(2):
                    answer = await client.post("/v1/chat/completions", json=chat(customer.model))
                    assert answer.status_code == 200, answer.text
                    heard.append(answer.headers["x-request-id"])
                stream = await client.post("/v1/chat/completions", json=chat(customer.model, stream=True))
                assert read_stream(stream.content).done
                heard.append(stream.headers["x-request-id"])
                models = (await client.get("/v1/models")).json()["data"]
                assert customer.model in {model["id"] for model in models}
        async with AsyncOpenAI(base_url=f"{made.process.url}/v1", api_key=customer.token) as sdk:
            said = await sdk.chat.completions.create(model=customer.model, messages=[{"role": "user", "content": "!"}])
            assert said.choices[0].message.content
        await made.drained()
        usage = await made.process.api("GET", f"/organizations/{customer.org}/usage")
        assert usage["requests"] == len(heard) + 1
    with books_of(made.process.data) as books:
        assert set(heard) < set(check(books, customer))


async def test_the_control_plane_answers_through_every_worker(made: Fleet) -> None:
    async with made.each() as clients:
        for number, client in enumerate(clients):
            created = await client.post("/api/organizations", json={"name": f"org {number}", "credit": "1"})
            assert created.status_code == 201, created.text
            assert created.headers["x-request-id"] == created.headers["request-id"]
            assert len(created.headers.get_list("date")) == 1
            refused = await client.post("/api/organizations", json={"nonsense": 1})
            assert refused.status_code == 400
            assert set(refused.json()["error"]) == {"message", "code", "param", "detail"}
            assert (await client.get("/nowhere")).status_code == 404
            assert (await client.head("/api/status")).status_code == 405
            large = await client.post("/api/organizations", content=b"x" * 300_000)
            assert large.status_code == 413
            assert (await client.get("/api/ledger/verify")).json()["ok"] is True
            assert 'href="/api/docs"' in (await client.get("/")).text
            document = await client.get("/api/openapi.json")
            assert len(document.content) == int(document.headers["content-length"])
        names = {one["name"] for one in (await clients[0].get("/api/organizations")).json()}
        assert {"org 0", "org 1"} <= names
        async with httpx.AsyncClient(base_url=made.process.url) as nobody:
            assert (await nobody.get("/api/status")).status_code == 401
            assert (await nobody.get("/metrics")).status_code == 200  # from this machine
            passed_on = await nobody.get("/metrics", headers={"x-forwarded-for": "192.0.2.1"})
            assert passed_on.status_code == 401


async def test_limits_count_over_all_workers(made: Fleet) -> None:
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-1")
        key = await made.process.api("POST", f"/organizations/{customer.org}/keys", {"rpm": 7, "name": "slow"})
        async with made.each(key["key"]) as clients:
            answers = await asyncio.gather(
                *(
                    client.post("/v1/chat/completions", json=chat(customer.model), timeout=END_S)
                    for client in clients
                    for _ in range(8)
                )
            )
            statuses = Counter(answer.status_code for answer in answers)
            assert statuses == {200: 7, 429: 9}
            remaining = {int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers}
            assert remaining == set(range(7))
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
            assert int(refused.headers["retry-after"]) > 1


async def test_requests_at_once_are_counted_over_all_workers_and_given_back(made: Fleet) -> None:
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-2")
        key = await made.process.api("POST", f"/organizations/{customer.org}/keys", {"concurrency": 1})
        async with made.each(key["key"]) as (one, two):
            upstream.plan(Fault.HoldFirstByte())
            held = asyncio.create_task(one.post("/v1/chat/completions", json=chat(customer.model)))
            await upstream.arrived()
            refused = await two.post("/v1/chat/completions", json=chat(customer.model))
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            upstream.release()
            assert (await held).status_code == 200
            assert (await two.post("/v1/chat/completions", json=chat(customer.model))).status_code == 200


async def test_a_budget_is_exact_over_all_workers(made: Fleet) -> None:
    """Many requests at once on both workers, and a budget for some: never a micro-dollar beyond it."""
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-3")
        budget = "0.002"
        key = await made.process.api("POST", f"/organizations/{customer.org}/keys", {"budget": budget})
        async with made.each(key["key"]) as clients:
            ended = Counter()
            for _ in range(6):
                answers = await asyncio.gather(
                    *(
                        client.post("/v1/chat/completions", json=chat(customer.model, max_tokens=8), timeout=END_S)
                        for client in clients
                        for _ in range(12)
                    )
                )
                ended.update(answer.status_code for answer in answers)
            assert set(ended) == {200, 429}
        await made.drained()
    with books_of(made.process.data) as books:
        records = [record for record in books.records(customer.org) if record.key == key["id"]]
        assert len(records) == ended[200]
        spent = sum(record.charged_micro for record in records)
        assert 0 < spent <= parse_dollars(budget)
        assert sum(record.overrun_micro for record in records) == 0
        verdict = books.verify()
        assert verdict.ok, verdict.problems


async def test_a_revoked_key_stops_on_every_worker_at_once(made: Fleet) -> None:
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-4")
        key = await made.process.api("POST", f"/organizations/{customer.org}/keys", {})
        async with made.each(key["key"]) as clients:
            for client in clients:  # both have it in memory
                assert (await client.get("/v1/models")).status_code == 200
            await made.process.api("DELETE", f"/keys/{key['id']}")
            for client in clients:
                assert (await client.get("/v1/models")).status_code == 401


async def test_a_change_holds_from_its_answer_on_in_every_worker(made: Fleet) -> None:
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-5")
        async with made.each(customer.token) as clients:
            await made.process.api("POST", "/prices", {"model": "other", "input": "2", "output": "8"})
            spec = {"model": "other", "engine": "vllm", "url": upstream.url, "context": 4096, "max_output": 64}
            deployment = await made.process.api("POST", "/deployments", {**spec, "upstream_model": "tiny-chat"})
            for client in clients:
                assert "other" in {model["id"] for model in (await client.get("/v1/models")).json()["data"]}
            await made.process.api("DELETE", f"/deployments/{deployment['id']}")
            for client in clients:
                assert "other" not in {model["id"] for model in (await client.get("/v1/models")).json()["data"]}


async def test_metrics_are_those_of_all_workers(made: Fleet) -> None:
    async with FaultyUpstream() as upstream:
        customer = await _model(made, upstream, "model-6")
        async with made.each(customer.token) as clients, httpx.AsyncClient(base_url=made.process.url) as scraper:
            for client in clients:
                for _ in range(3):
                    await client.post("/v1/chat/completions", json=chat(customer.model))
            wanted = {
                'surplus_requests_total{endpoint="chat.completions",model="model-6",outcome="completed"} 6.0',
                "surplus_workers 2.0",
                "surplus_worker_restarts_total 0.0",
                "surplus_in_flight 0.0",
            }
            text = ""
            async with asyncio.timeout(END_S):
                while not wanted <= set(text.splitlines()):
                    text = (await scraper.get("/metrics")).text
            assert text.count("# TYPE surplus_requests_total counter") == 1
