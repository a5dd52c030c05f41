"""A data directory as a server leaves it, and a way to damage it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from surplus import bootstrap
from surplus.doctor import Check
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.kit.journal import Journal
from surplus.ledger import service as ledger
from surplus.ledger.commands import Transfer
from surplus.ledger.model import PAYMENTS

NOW = 1_795_251_600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Schema, an operator with a key, a few entries in the ledger, an empty journal; no server runs on it."""
    directory = tmp_path / "data"
    database = bootstrap.open_store(directory)
    bootstrap.ensure_operator(database, CountedIds(), directory, NOW)
    transfers = [Transfer(f"t{number}", PAYMENTS, "adjustment", 5, "topup", "", NOW) for number in range(3)]
    database.write_now(ledger.apply, transfers, now=NOW)
    database.close()
    Journal.open(directory / "journal").close()
    return directory


@pytest.fixture
def database(data: Path) -> Iterator[Database]:
    opened = Database(data / "surplus.db")
    yield opened
    opened.close()


def tamper(data: Path, statement: str) -> None:
    """Change the database behind the server's back."""
    with closing(sqlite3.connect(data / "surplus.db")) as connection:
        connection.execute(statement)
        connection.commit()


def told(check: Check, state: str, *words: str) -> None:
    """The check has this state, its finding and remedy have these words, and a problem always has a remedy."""
    assert check.state == state, check
    assert bool(check.remedy) == (state != "ok"), check
    for word in words:
        assert word in f"{check.finding}; {check.remedy}", check
