"""Behind a proxy: whom the server takes for the caller if the proxy is trusted, if it is not, if the caller lies."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from surplus.settings import Server
from tests.http.edge import head, refused
from tests.http.harness import Live, Shop, eventually, opened, quick, running
from tests.upstream.raw_client import Heard

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(
    server=Server(
        drain_s=5,
        trusted_proxies="127.0.0.0/30, 10.0.0.0/8",
        max_connections=50,
        max_connections_per_key=2,
        max_connections_per_address=2,
    )
)
CALLER = "203.0.113.5"


def stuck(path: str, *lines: str) -> bytes:
    """A request that is not over: of its body, nothing comes."""
    return head(path, *lines, "content-type: application/json", "content-length: 10", method="POST")


async def pending(shop: Shop, *lines: str) -> Heard:
    """A request of nobody known that waits for its body."""
    return await shop.dial(stuck("/api/organizations", *lines))


def addresses(live: Live) -> dict[str, int]:
    return dict(live.server.edge.seats.addresses)


async def test_the_caller_is_whom_a_trusted_proxy_names(shop: Shop) -> None:
    callers = [await pending(shop, f"x-forwarded-for: {CALLER}") for _ in range(2)]
    await eventually(lambda: addresses(shop.live) == {CALLER: 2}, "both to count for the caller")
    error = await refused(
        await pending(shop, f"x-forwarded-for: {CALLER}, 10.1.1.1"), 429, "too_many_connections", api=True
    )
    assert error["detail"] == {"limit": 2, "scope": "address"}
    await pending(shop, "x-forwarded-for: 203.0.113.6")
    await eventually(lambda: addresses(shop.live) == {CALLER: 2, "203.0.113.6": 1}, "another to be let in")
    for caller in callers:
        caller.send(b"1234567890")
        await caller.has(b'"error"')
    await eventually(lambda: addresses(shop.live) == {"203.0.113.6": 1}, "the requests to end")


async def test_what_the_caller_wrote_into_the_list_itself_is_not_believed(shop: Shop) -> None:
    await pending(shop, f"x-forwarded-for: 127.0.0.1, 198.51.100.1, {CALLER}")
    await eventually(lambda: addresses(shop.live) == {CALLER: 1}, "it to count for the caller")


async def test_a_proxys_connections_are_nobodys_between_requests(shop: Shop) -> None:
    callers = [await shop.dial(b"") for _ in range(10)]
    for caller in callers:
        caller.send(head("/v1/models", f"authorization: Bearer {shop.secret.token}", f"x-forwarded-for: {CALLER}"))
        await caller.has(b'"object":"list"')
    seats = shop.live.server.edge.seats
    assert (dict(seats.keys), dict(seats.addresses)) == ({}, {})
    assert seats.open >= 10


async def test_pages_know_how_they_are_reached(shop: Shop) -> None:
    for said, base in (("https", b"https://shop/v1"), ("http", b"http://shop/v1"), ("gopher", b"http://shop/v1")):
        caller = await shop.dial(head("/", f"x-forwarded-proto: {said}", "connection: close"))
        assert base in (await caller.closed()).body


async def test_the_log_names_the_caller(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        caller = await shop.dial(
            head("/api/budgets", f"x-forwarded-for: {CALLER}", "transfer-encoding: chunked", method="POST")
            + b"nonsense\r\n"
        )
        await refused(caller, 400, "invalid_request", api=True)
    clients = [record.fields["client"] for record in caplog.records if hasattr(record, "fields")]
    assert clients == [CALLER]


@pytest_asyncio.fixture(loop_scope="module")
async def unproxied(tmp_path) -> AsyncIterator[Shop]:
    """A shop on a server that trusts no proxy."""
    settings = quick(server=Server(drain_s=5, max_connections_per_address=30))
    async with running(tmp_path, settings) as live, opened(live, "openai") as shop:
        yield shop


async def test_nobody_else_is_believed(unproxied: Shop) -> None:
    caller = await pending(unproxied, f"x-forwarded-for: {CALLER}", "x-forwarded-proto: https")
    await eventually(lambda: unproxied.live.server.edge.seats.open >= 1, "it to be connected")
    await asyncio.sleep(0)
    assert CALLER not in addresses(unproxied.live)
    assert addresses(unproxied.live)["127.0.0.1"] >= 1
    caller.leave()
    page = await unproxied.dial(head("/", "x-forwarded-proto: https", "connection: close"))
    assert b"http://shop/v1" in (await page.closed()).body


async def test_metrics_are_not_for_those_who_come_through_a_proxy(shop: Shop) -> None:
    for lines in ([f"x-forwarded-for: {CALLER}"], ["x-forwarded-for: 127.0.0.1"]):
        caller = await (await shop.dial(head("/metrics", *lines, "connection: close"))).closed()
        assert (caller.status, json.loads(caller.body)["error"]["code"]) == (401, "invalid_api_key")
