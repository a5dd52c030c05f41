"""Balances are made again from the log, on a stopped server alone, and from a sound log alone."""

from pathlib import Path

import pytest

from surplus import bootstrap
from surplus.care import CareError, rebuild
from surplus.kit.db import Database
from surplus.kit.journal import JournalLocked
from surplus.ledger import service as ledger
from surplus.ledger.errors import LedgerBroken
from tests.care.conftest import Shop, tamper


@pytest.fixture
def data(shop: Shop) -> Path:
    """Of a server that has stopped."""
    shop.close()
    return shop.data


def _ok(data: Path) -> bool:
    database = Database(data / bootstrap.DATABASE)
    try:
        return database.read_now(ledger.verify).ok
    finally:
        database.close()


def test_balances_that_were_changed_are_mended(data: Path) -> None:
    (data / bootstrap.CHECKED).write_bytes(b"of a time before")
    tamper(data, "UPDATE ledger_account SET credits = credits + 5 WHERE kind = 'wallet'")
    tamper(data, "DELETE FROM ledger_hold WHERE id = 'req_1'")
    done = rebuild(data)
    assert done.after is not None
    assert (done.before.ok, done.before.log_ok, done.after.ok) == (False, True, True)
    assert len(done.before.problems) == 3  # the account, the hold, and how many holds there are
    assert _ok(data)
    assert not (data / bootstrap.CHECKED).exists()


def test_a_sound_ledger_is_left_alone(data: Path) -> None:
    done = rebuild(data)
    assert done.before.ok
    assert done.after is None


def test_a_log_that_was_changed_is_not_made_the_truth(data: Path) -> None:
    tamper(data, "DELETE FROM ledger_entry WHERE seq = 3")
    with pytest.raises(LedgerBroken, match="restore a backup"):
        rebuild(data)


def test_not_beside_a_server(shop: Shop) -> None:
    with pytest.raises(JournalLocked, match="another server runs"):
        rebuild(shop.data)


def test_not_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CareError, match="check --data"):
        rebuild(tmp_path / "data")
    assert not (tmp_path / "data").exists()
