from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.upstream import FaultyUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[FaultyUpstream]:
    async with FaultyUpstream() as server:
        yield server


@pytest.fixture
async def client(upstream: FaultyUpstream) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=upstream.url, api_key="sk-upstream", max_retries=0) as caller:
        yield caller
