"""Servers for tests: a control plane over a real database, and whole servers with engines behind them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from surplus.kit.db import Database, metadata
from surplus.settings import Settings, Store
from tests.http.books import check_books
from tests.http.harness import Live, Shop, opened, quick, running
from tests.http.world import World, build
from tests.stores import PostgresStores

Opener = Callable[..., Awaitable[Shop]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A control plane over a real database, with one customer's world in it and a rival beside it; see `World`."""
    database = Database(tmp_path / "surplus.db")
    database.migrate(metadata.create_all)
    made = await build(database)
    yield made
    await made.close()
    database.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says STORES runs its servers on each of these kinds of database; all others on SQLite."""
    kinds = getattr(metafunc.module, "STORES", None)
    if kinds is not None and "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", kinds, scope="module")


@pytest.fixture(scope="module")
def store_kind() -> str:
    return "sqlite"


@contextmanager
def _address(store_kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """What a server gets as its store.url: nothing, or an empty PostgreSQL database."""
    if store_kind == "sqlite":
        yield ""
        return
    stores: PostgresStores = request.getfixturevalue(store_kind)
    place = stores.empty()
    yield stores.cluster.text(str(place.database))
    stores.forget(place)


@pytest.fixture(scope="module")
def module_store_url(store_kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with _address(store_kind, request) as address:
        yield address


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with _address(store_kind, request) as address:
        yield address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, module_store_url: str
) -> AsyncIterator[Live]:
    """One real server for all tests of a module, under the module's SETTINGS; its books are right in the end."""
    settings: Settings = getattr(request.module, "SETTINGS", quick())
    settings = msgspec.structs.replace(settings, store=Store(url=module_store_url))
    async with running(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
        verdict = await server.verify()
        assert verdict.ok, verdict.problems


@pytest_asyncio.fixture(loop_scope="module")
async def open_shop(live: Live) -> AsyncIterator[Opener]:
    """Opens shops (see `opened`) for one test, and checks their books at its end."""
    shops: list[Shop] = []
    async with AsyncExitStack() as stack:

        async def open_one(*engines: str, **given: Any) -> Shop:
            shops.append(await stack.enter_async_context(opened(live, *engines, **given)))
            return shops[-1]

        yield open_one
        for shop in shops:
            await check_books(shop)


@pytest_asyncio.fixture(loop_scope="module")
async def shop(open_shop: Opener) -> Shop:
    """A shop with one provider behind it."""
    return await open_shop("openai")
