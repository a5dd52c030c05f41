"""A real database for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from surplus.kit.db import Database, metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh store with every table that the test's imports define."""
    database = Database(tmp_path / "surplus.db")
    database.migrate(metadata.create_all)
    yield database
    database.close()
