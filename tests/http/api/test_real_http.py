"""The control plane behind the server that it runs on, over a socket."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from surplus.edge import edge_of
from surplus.kit.clock import SystemClock
from surplus.kit.http1_server import AsgiHandler, Server
from surplus.kit.ids import RandomIds
from surplus.settings import Settings
from tests.http.world import World


@pytest.fixture
async def base(world: World) -> AsyncIterator[str]:
    """The address of a running server."""
    sock = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    server = Server(SystemClock(), edge_of(Settings().server, RandomIds(SystemClock()), lambda error: None), drain_s=10)
    serving = asyncio.create_task(server.serve(AsgiHandler(world.app), sock, stop))
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    stop.set()
    await serving
    sock.close()


async def test_a_customer_is_set_up_from_nothing(world: World, base: str):
    headers = {"authorization": f"Bearer {world.tokens['operator']}"}
    async with httpx.AsyncClient(base_url=f"{base}/api", headers=headers) as operator:
        made = (await operator.post("/organizations", json={"name": "Big Co", "credit": "5"})).json()
        created = await operator.post("/organizations/Big%20Co/keys", json={"role": "admin"})
        assert created.status_code == 201
        assert created.headers["x-request-id"]
    headers = {"authorization": f"Bearer {created.json()['key']}"}
    async with httpx.AsyncClient(base_url=f"{base}/api", headers=headers) as admin:
        assert (await admin.get("/organizations")).json() == [made]
        balance = (await admin.get(f"/organizations/{made['id']}/balance")).json()
        assert balance["available"] == "5.000000"
        foreign = await admin.get("/organizations/acme")
        assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "organization_not_found")


async def test_many_at_once_book_each_payment_once(world: World, base: str):
    headers = {"authorization": f"Bearer {world.tokens['operator']}"}
    async with httpx.AsyncClient(base_url=base, headers=headers) as client:
        path = "/api/organizations/rival/credit"
        sent = [
            client.post(path, json={"amount": "1"}, headers={"idempotency-key": f"pay-{number % 5}"})
            for number in range(20)
        ]
        answers = await asyncio.gather(*sent)
        assert {answer.status_code for answer in answers} == {200}
        balance = (await client.get("/api/organizations/rival/balance")).json()
        assert balance["credit"] == "5.000000"


async def test_a_body_without_end_is_cut_off(world: World, base: str):
    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "'
        for _ in range(40):
            yield b"x" * 10_000

    headers = {"authorization": f"Bearer {world.tokens['operator']}", "content-type": "application/json"}
    async with httpx.AsyncClient(base_url=base, headers=headers) as client:
        answer = await client.post("/api/organizations", content=body())
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        assert (await client.get("/api/organizations")).status_code == 200


async def test_what_a_proxy_says_about_the_caller_counts(base: str):
    async with httpx.AsyncClient(base_url=base) as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.5"})).status_code == 401


async def test_paths_that_are_not_text_are_answered(base: str):
    async with httpx.AsyncClient(base_url=base) as client:
        for path in ("/%ff%fe", "/api/keys/%00/rotate", "/api/organizations/%ed%a0%80"):
            answer = await client.get(path)
            assert answer.status_code in (401, 404, 405)
            assert answer.json()["error"]["message"]
