"""A control plane over a real database, with one customer's world in it and a rival beside it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from surplus.kit.db import Database, metadata
from tests.http.world import World, build


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """See `World`."""
    database = Database(tmp_path / "surplus.db")
    database.migrate(metadata.create_all)
    made = await build(database)
    yield made
    await made.close()
    database.close()
