"""A desk on a fresh database."""

import pytest

from surplus.kit.db import Database
from tests.db.ledger.desk import Desk


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)
