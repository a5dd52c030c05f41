"""How many may be connected: so many of a key, of an address without one, and in all; the next is told so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from surplus.app.keys import KeySpec
from surplus.settings import Server
from tests.http.edge import head, let_go, refused
from tests.http.harness import WIDE, Live, Shop, eventually, opened, quick, running
from tests.http.reading import as_request, chat
from tests.upstream import Fault
from tests.upstream.raw_client import Heard

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(server=Server(drain_s=5, max_connections=8, max_connections_per_key=3, max_connections_per_address=5))


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _empty(live: Live) -> None:
    """Whoever furnished the shop has gone."""
    await let_go(live)


def models(shop: Shop, token: str | None = None) -> bytes:
    return head("/v1/models", f"authorization: Bearer {token or shop.secret.token}")


async def connected(shop: Shop, token: str | None = None) -> Heard:
    """A connection that has had an answer, and stays open."""
    caller = await shop.dial(models(shop, token))
    await caller.has(b'"object":"list"')
    assert caller.status == 200
    return caller


@pytest.mark.parametrize("api", [False, True], ids=["v1", "api"])
async def test_a_key_has_so_many_connections_and_the_next_hears_of_it(shop: Shop, api: bool) -> None:
    callers = [await connected(shop) for _ in range(3)]
    path = f"/api/organizations/{shop.org.id}/usage" if api else "/v1/models"
    turned_away = await shop.dial(head(path, f"authorization: Bearer {shop.secret.token}"))
    await turned_away.has(b"too_many_connections")
    assert (turned_away.status, turned_away.header("retry-after")) == (429, "1")
    assert b"this key has 3 connections open" in turned_away.raw
    callers[0].send(models(shop))  # those that are open go on
    await eventually(lambda: callers[0].raw.count(b"HTTP/1.1 200") == 2, "the second answer")
    callers[1].leave()
    await eventually(lambda: shop.live.server.edge.seats.keys[shop.key.id] == 2, "the connection to end")
    await connected(shop)


async def test_streams_count_and_one_too_many_costs_nothing(shop: Shop) -> None:
    for _ in range(3):
        shop.upstream.plan(Fault.StallAfter(4))
    streams = [await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True))) for _ in range(3)]
    for stream in streams:
        await stream.has(b" the")
    over = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)))
    await over.has(b"too_many_connections")
    assert over.status == 429
    assert len(shop.upstream.generations) == 3
    shop.upstream.release()
    for stream in streams:
        await stream.has(b"[DONE]")
    assert len(await shop.records()) == 3


async def test_another_key_is_not_concerned(shop: Shop) -> None:
    other = await shop.new_key(limits=WIDE)
    for _ in range(3):
        await connected(shop)
    await connected(shop, other.token)


async def test_strangers_of_one_address_are_so_many_and_customers_are_none_of_them(shop: Shop) -> None:
    for _ in range(2):
        await connected(shop)
    strangers = [await shop.dial(b"") for _ in range(5)]
    await eventually(lambda: shop.live.server.edge.seats.open == 7, "all to be connected")
    error = await refused(await shop.dial(b""), 429, "too_many_connections")
    assert "this address has 5 connections open" in error["message"]
    strangers[0].leave()
    await eventually(lambda: shop.live.server.edge.seats.open == 6, "the stranger to leave")
    await connected(shop)


async def test_a_stranger_becomes_a_customer(shop: Shop) -> None:
    strangers = [await shop.dial(b"") for _ in range(5)]
    await eventually(lambda: shop.live.server.edge.seats.open == 5, "all to be connected")
    strangers[0].send(models(shop))
    await strangers[0].has(b'"object":"list"')
    await connected(shop)
    assert dict(shop.live.server.edge.seats.keys) == {shop.key.id: 2}


async def test_the_server_takes_so_many_in_all(shop: Shop) -> None:
    other = await shop.new_key(limits=WIDE)
    callers = [await connected(shop, token) for token in (shop.secret.token, other.token) for _ in range(3)]
    callers += [await shop.dial(b"") for _ in range(2)]
    await eventually(lambda: shop.live.server.edge.seats.open == 8, "all to be connected")
    over = await shop.dial(models(shop))
    await refused(over, 503, "connections_full")
    assert over.header("retry-after") == "1"
    for caller in callers:
        caller.leave()
    await let_go(shop.live)
    await connected(shop)


async def test_a_key_that_is_not_valid_takes_nobodys_place(shop: Shop) -> None:
    for _ in range(3):
        caller = await shop.dial(models(shop, shop.secret.token[:-1] + "x"))
        await caller.has(b"invalid_api_key")
    assert not shop.live.server.edge.seats.keys
    await connected(shop)


@pytest_asyncio.fixture(loop_scope="module")
async def roomy(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop on a server as it comes."""
    async with running(tmp_path, quick()) as live, opened(live, "openai", key=KeySpec(limits=WIDE)) as shop:
        yield shop


async def test_a_thousand_idle_connections_stop_nobody(roomy: Shop) -> None:
    idle = [await roomy.dial(b"") for _ in range(1000)]
    seats = roomy.live.server.edge.seats
    await eventually(lambda: seats.open >= 1000, "all to be connected")
    for _ in range(5):
        assert (await roomy.post("/chat/completions", chat(roomy.model))).status_code == 200
    assert not any(caller.reset is not None for caller in idle)
    for caller in idle:
        caller.leave()
    await eventually(lambda: seats.open < 1000, "them to leave")
    assert len(await roomy.records()) == 5
