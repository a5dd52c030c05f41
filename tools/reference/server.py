"""A whole server without a socket: what it says about itself is what the reference is made from."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from surplus import bootstrap
from surplus.kit.clock import SystemClock
from surplus.kit.ids import RandomIds
from surplus.settings import Settings

HERE: Final = "127.0.0.1"
ELSEWHERE: Final = "192.0.2.1"


@dataclass(frozen=True)
class Built:
    """A server, the operator's key, and clients that seem to call from its own machine and from another one."""

    server: bootstrap.Server
    operator_key: str
    here: httpx.AsyncClient
    elsewhere: httpx.AsyncClient


@asynccontextmanager
async def built() -> AsyncGenerator[Built]:
    """A server with default settings on an empty data directory."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        database = bootstrap.open_store(data)
        bootstrap.ensure_operator(database, RandomIds(clock), data, clock.now())
        server = await bootstrap.build(Settings(), data, database, {})
        key = (data / bootstrap.OPERATOR_KEY).read_text(encoding="ascii").strip()
        async with _client(server, HERE) as here, _client(server, ELSEWHERE) as elsewhere:
            yield Built(server, key, here, elsewhere)
        await bootstrap.close(server)


def _client(server: bootstrap.Server, address: str) -> httpx.AsyncClient:
    assert server.api is not None
    transport = httpx.ASGITransport(server.api, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://surplus.invalid")
