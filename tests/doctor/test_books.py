"""Faults in the database."""

from pathlib import Path

import pytest

from surplus import bootstrap
from surplus.doctor import books
from surplus.identity import service as identity
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.ids import RandomIds
from tests.doctor.conftest import NOW, tamper, told


def test_a_good_database_opens(data: Path) -> None:
    check, opened = books.database(data / "surplus.db")
    told(check, "ok", "is whole")
    assert opened is not None
    opened.close()


def test_no_database_is_not_made_by_looking(data: Path) -> None:
    check, opened = books.database(data / "none.db")
    told(check, "warning", "first start")
    assert opened is None
    assert not (data / "none.db").exists()


def test_a_file_that_is_no_database(data: Path) -> None:
    file = data / "other.db"
    file.write_bytes(b"this was a database once" * 100)
    check, opened = books.database(file)
    told(check, "failed", "not a database", "restore the last sound backup")
    assert opened is None


def test_a_damaged_database(data: Path) -> None:
    tamper(data, "PRAGMA wal_checkpoint(TRUNCATE)")
    file = data / "surplus.db"
    content = bytearray(file.read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    file.write_bytes(content)
    check, opened = books.database(file)
    told(check, "failed", "restore the last sound backup")
    assert opened is None


def test_the_newest_schema(database: Database) -> None:
    told(books.schema(database, bootstrap.MIGRATIONS), "ok", "the newest")


def test_a_schema_that_waits_for_an_upgrade(tmp_path: Path) -> None:
    empty = Database(tmp_path / "empty.db")
    told(books.schema(empty, bootstrap.MIGRATIONS), "warning", "none", "backup")
    empty.close()


def test_a_schema_of_a_later_version(data: Path, database: Database) -> None:
    tamper(data, "UPDATE alembic_version SET version_num = '9999'")
    tamper(data, "UPDATE kit_schema SET compatible_from = '9998'")
    told(books.schema(database, bootstrap.MIGRATIONS), "failed", "9999", "later Surplus")


def test_a_schema_of_a_later_version_that_says_it_is_compatible(data: Path, database: Database) -> None:
    tamper(data, "UPDATE alembic_version SET version_num = '9999'")
    told(books.schema(database, bootstrap.MIGRATIONS), "ok", "9999", "later Surplus")


def test_a_sound_ledger(database: Database) -> None:
    told(books.books(database), "ok", "entries are sound")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET amount_micro = 6 WHERE key = 't1'",
        "DELETE FROM ledger_entry WHERE key = 't1'",
        "UPDATE ledger_batch SET hash = previous",
    ],
)
def test_a_tampered_ledger(data: Path, database: Database, statement: str) -> None:
    tamper(data, statement)
    told(books.books(database), "failed", "not sound", "restore the last sound backup")


def test_a_balance_that_the_log_can_mend(data: Path, database: Database) -> None:
    tamper(data, "UPDATE ledger_account SET debits = debits + 1 WHERE id = 'payments'")
    told(books.books(database), "failed", "not sound", "surplus ledger rebuild --data DIR")


def test_usage_that_was_never_charged(data: Path, database: Database) -> None:
    hour = "'org_1', 0, '', 'key_1', 'tiny', 'tiny', 'v1'"
    tamper(data, f"INSERT INTO metering_hour VALUES ({hour}, 1, 0, 1, 0, 0, 1, 0, 0, 5, 0, 0, 5, 0)")
    told(books.books(database), "failed", "the hours of metering come to 5 charged", "restore the last sound backup")


def test_a_table_that_is_gone_is_a_finding_and_no_crash(data: Path, database: Database) -> None:
    tamper(data, "DROP TABLE ledger_batch")
    told(books.guarded("ledger", lambda: books.books(database)), "failed", "ledger_batch")


def test_a_clock_that_was_set_back(database: Database) -> None:
    told(books.clock(database, NOW), "ok")
    told(books.clock(database, NOW - 3600), "failed", "2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z", "timedatectl")


def test_an_empty_ledger_says_nothing_about_the_clock(tmp_path: Path) -> None:
    empty = bootstrap.open_store(tmp_path / "data")
    told(books.clock(empty, 0.0), "ok")
    empty.close()


def test_an_operator_key_that_is_accepted(data: Path, database: Database) -> None:
    token = (data / "operator.key").read_text().strip()
    told(books.operator_may(database, token, NOW), "ok", "is accepted")


def test_an_operator_key_of_another_server(database: Database) -> None:
    token = "sk-" + "a" * 16 + "-" + "b" * 32
    told(books.operator_may(database, token, NOW), "failed", "is refused", "next start makes one")


def test_an_operator_key_that_was_rotated(data: Path, database: Database) -> None:
    token = (data / "operator.key").read_text().strip()
    operator = database.read_now(identity.find_organization, "operator")
    (key,) = database.read_now(identity.list_keys, operator.id)
    database.write_now(identity.revoke_key, key.id, now=NOW)
    told(books.operator_may(database, token, NOW), "failed", "revoked")


def test_a_key_of_a_customer_in_place_of_the_operators(database: Database, clock: ManualClock) -> None:
    ids = RandomIds(clock)
    acme = database.write_now(identity.create_organization, ids, "acme", now=NOW)
    made = database.write_now(identity.create_key, ids, org=acme.id, now=NOW)
    told(books.operator_may(database, made.token, NOW), "failed", "not an operator's")
