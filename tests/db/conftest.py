"""A real database for every test, which runs once on each kind."""

from collections.abc import Iterator

import pytest

from surplus.kit.db import Database
from tests.stores import Stores, opened


@pytest.fixture
def database(stores: Stores) -> Iterator[Database]:
    """A fresh store at the newest schema."""
    with opened(stores) as database:
        yield database
