"""Real stores for every test: a database, a journal, slots."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, metadata
from surplus.kit.journal import Journal, Slots
from tests.unit.gateway.parts import NOW
from tests.unit.gateway.stage import Cast, Opener, staged


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with every table and no row: copying it is faster than making the tables again."""
    path = tmp_path_factory.mktemp("empty") / "surplus.db"
    database = Database(path)
    database.migrate(metadata.create_all)
    database.close()
    return path


@pytest.fixture
def database(tmp_path: Path, empty_store: Path) -> Iterator[Database]:
    """A fresh store."""
    database = Database(Path(shutil.copy(empty_store, tmp_path)))
    yield database
    database.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    slots = Slots.open(tmp_path / "slots", 8)
    yield slots
    slots.close()


@pytest.fixture
async def open_stage(tmp_path: Path, database: Database) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def open_one(*engines: Any, **given: Any) -> Cast:
            return await stack.enter_async_context(staged(tmp_path, database, *engines, **given))

        yield open_one
