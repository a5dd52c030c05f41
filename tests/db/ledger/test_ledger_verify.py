"""The log proves itself, and the projections can be made again."""

import pytest
from sqlalchemy import delete, text, update

from surplus.kit.db import WriteSession
from surplus.ledger import service, store, tables
from surplus.ledger.commands import ReturnSlice, SetLimit, Transfer, VoidHold
from surplus.ledger.errors import LedgerBroken
from tests.db.ledger.desk import NOW, WALLET, Desk, budget, charge, draw, place, post

CHECKS = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0"


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A ledger in which everything has happened once."""
    desk.fund(10_000)
    desk.batch(*[place(f"h{n}", 100, budget("a", 9000), ends=NOW + 60 + n) for n in range(6)])
    desk.batch(post("h0", 40, grains=9), post("h1", 140), VoidHold("h2", "left"))
    desk.do(Transfer("t2", WALLET.account, "payments", 10**8, "refund", "", NOW))
    desk.do(SetLimit("s1", "budget:a", 5))
    desk.now = NOW + 64
    desk.batch(post("h3", 7, grains=1))
    assert desk.verify().ok
    return desk


def tamper(desk: Desk, statement: str) -> None:
    def run(session: WriteSession) -> None:
        connection = session._connection
        if connection.dialect.name == "postgresql":
            for table, constraint in connection.execute(text(CHECKS)).all():
                connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"))
            connection.execute(text(statement))
        else:
            connection.execute(text("PRAGMA ignore_check_constraints=ON"))
            connection.execute(text(statement))
            connection.execute(text("PRAGMA ignore_check_constraints=OFF"))

    desk.database.write_now(run)


def test_l3_a_rebuild_gives_the_same_bytes(busy: Desk) -> None:
    before = busy.dump()
    busy.database.write_now(service.rebuild)
    assert busy.dump() == before
    assert busy.verify().ok


def test_l3_a_rebuild_and_a_check_of_more_than_a_page(desk: Desk) -> None:
    desk.fund(10**6)
    count = store.PAGE - 100  # so that holds end in another page than they are placed in, and batches span two
    desk.batch(place("alone", 5, budget("alone", 9)), place("alone too", 5, budget("alone too", 9)))
    desk.batch(*[place(f"h{n}", 5, budget(f"b{n % 7}", None), ends=NOW + 60 + n % 2) for n in range(count)])
    desk.batch(*[post(f"h{n}", n % 9, grains=n) if n % 3 else VoidHold(f"h{n}", "") for n in range(count - 50)])
    desk.do(VoidHold("alone", ""))
    desk.now = NOW + 60
    desk.batch(*[post(f"h{n}", 3) for n in range(count - 50, count - 10)])
    before = desk.dump()
    assert desk.verify().ok
    desk.database.write_now(service.rebuild)
    assert desk.dump() == before


def test_l3_a_rebuild_repairs_projections(busy: Desk) -> None:
    before = busy.dump()
    tamper(busy, "UPDATE ledger_account SET credits = credits + 1, carry_grains = 3 WHERE id = 'wallet:org_1'")
    tamper(busy, "DELETE FROM ledger_hold WHERE id = 'h4'")
    assert not busy.verify().ok
    busy.database.write_now(service.rebuild)
    assert busy.dump() == before


def test_a_rebuild_of_an_unsound_log_changes_nothing(busy: Desk) -> None:
    tamper(busy, "DELETE FROM ledger_entry WHERE seq = 5")
    before = busy.dump()
    with pytest.raises(LedgerBroken, match="seq 6"):
        busy.database.write_now(service.rebuild)
    assert busy.dump() == before


def test_an_empty_ledger_is_sound(desk: Desk) -> None:
    found = desk.verify()
    assert (found.ok, found.entries, found.batches, found.head_hash) == (True, 0, 0, "0" * 64)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE ledger_entry SET amount_micro = 41 WHERE key = 'post:h0'", "where 40 + 0 is due"),
        ("UPDATE ledger_entry SET ref = 'other' WHERE key = 'hold:h4'", "its digest is not that of its fields"),
        ("UPDATE ledger_entry SET booked_at = booked_at + 1 WHERE seq = 2", "the hash of its batch"),
        ("UPDATE ledger_entry SET reason = 'x' WHERE key = 'void:h2'", "the hash of its batch"),
        ("UPDATE ledger_entry SET digest = 'x' WHERE seq = 2", "seq 2: its digest"),
        ("UPDATE ledger_entry SET kind = 'gift' WHERE seq = 2", "seq 2 of the log cannot be read"),
        ("UPDATE ledger_entry SET scopes = 'x' WHERE seq = 4", "seq 4 of the log cannot be read"),
        ("UPDATE ledger_entry SET counter = 'wallet:thief' WHERE key = 't1'", "wallet:thief, which is not open"),
        ("DELETE FROM ledger_entry WHERE seq = 6", "follows seq 5: entries are missing"),
        ("DELETE FROM ledger_entry WHERE seq = 1", "seq 2: follows seq 0: entries are missing"),
        ("DELETE FROM ledger_batch WHERE last_seq = 3", "its batch begins at 4, not at 1"),
        ("DELETE FROM ledger_batch WHERE last_seq = (SELECT max(last_seq) FROM ledger_batch)", "is in no batch"),
        ("UPDATE ledger_batch SET hash = 'x' WHERE last_seq = 3", "is not tied to the batch before it"),
        ("UPDATE ledger_batch SET previous = 'x' WHERE first_seq = 4", "is not tied to the batch before it"),
        ("UPDATE ledger_batch SET last_seq = last_seq + 1 WHERE first_seq = 1", "its batch begins at 4, not at 5"),
        ("INSERT INTO ledger_batch VALUES (99, 98, 'x', 'y')", "seq 99: its batch begins at 98"),
        ("UPDATE ledger_account SET held = held + 1 WHERE id = 'wallet:org_1'", "stored is Account(id='wallet:org_1'"),
        ("UPDATE ledger_account SET floor_micro = -6 WHERE id = 'budget:a'", "stored is Account(id='budget:a'"),
        ("UPDATE ledger_account SET kind = 'purse' WHERE id = 'overrun'", "the account overrun cannot be read"),
        ("DELETE FROM ledger_account WHERE id = 'overrun'", "nothing is stored"),
        ("UPDATE ledger_hold SET posted_micro = 0 WHERE id = 'h0'", "stored is Hold(id='h0'"),
        ("UPDATE ledger_hold SET overrun_micro = 1 WHERE id = 'h3'", "stored is Hold(id='h3'"),
        ("UPDATE ledger_hold SET deadline = 1 WHERE id = 'h5'", "stored is Hold(id='h5'"),
        ("UPDATE ledger_hold SET state = 'lost' WHERE id = 'h5'", "the hold h5 cannot be read"),
        ("DELETE FROM ledger_hold WHERE id = 'h2'", "stored is None"),
    ],
)
def test_l9_what_was_changed_behind_the_ledgers_back_is_found(busy: Desk, statement: str, problem: str) -> None:
    tamper(busy, statement)
    found = busy.verify()
    assert not found.ok
    assert any(problem in line for line in found.problems), found.problems


def test_l3_a_hold_and_an_account_that_the_log_does_not_know_are_found(busy: Desk) -> None:
    tamper(busy, "INSERT INTO ledger_hold SELECT 'h99', state, amount_micro, scopes, deadline, ref, placed_at, "
           "posted_micro, overrun_micro, ended_at FROM ledger_hold WHERE id = 'h0'")  # fmt: skip
    tamper(busy, "INSERT INTO ledger_account SELECT 'wallet:x', kind, currency, limit_micro, floor_micro, credits, "
           "debits, held, carry_grains, sliced, recalled_seq, recalled_at, scarce_micro FROM ledger_account "
           "WHERE id = 'wallet:org_1'")  # fmt: skip
    found = busy.verify().problems
    assert any("places 6 holds, stored are 7" in line for line in found)
    assert any("there is None, stored is Account(id='wallet:x'" in line for line in found)


@pytest.fixture
def sliced(desk: Desk) -> Desk:
    """A ledger in which everything has happened that can happen to slices."""
    desk.fund(100_000)
    desk.batch(draw("s1", 500, budget("a", 9000)), draw("s2", 400), draw("s3", 300))
    desk.batch(charge("s1", "c1", 40, 130, grains=7), charge("s2", "c2", 5), charge("s4", "c3", 2))
    desk.batch(ReturnSlice("s3", 0), ReturnSlice("s2", 100))
    desk.do(SetLimit("l1", "budget:a", 8000))
    desk.database.write_now(service.grant, {"s1": 80})
    assert desk.verify().ok
    assert {entry[1] for entry in desk.dump()["ledger_entry"]} >= {"draw", "charge", "return", "recall"}
    return desk


def test_l3_slices_are_rebuilt_to_the_same_bytes(sliced: Desk) -> None:
    before = sliced.dump()
    sliced.database.write_now(service.rebuild)
    assert sliced.dump() == before
    tamper(sliced, "DELETE FROM ledger_slice")
    tamper(sliced, "UPDATE ledger_slice_scope SET account = 'budget:b' WHERE account = 'budget:a'")
    assert not sliced.verify().ok
    sliced.database.write_now(service.rebuild)
    assert sliced.dump() == before


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE ledger_slice SET amount_micro = amount_micro + 1 WHERE id = 's1'", "stored is Slice(id='s1'"),
        ("UPDATE ledger_slice SET holder = 'gw_2' WHERE id = 's2'", "stored is Slice(id='s2'"),
        ("UPDATE ledger_slice SET returned = false WHERE id = 's2'", "stored is Slice(id='s2'"),
        ("UPDATE ledger_slice SET scopes = 'x' WHERE id = 's2'", "the slice s2 cannot be read"),
        ("DELETE FROM ledger_slice WHERE id = 's1'", "nothing is stored"),
        ("INSERT INTO ledger_slice VALUES ('s9', 'gw_1', '[]', 5, 1, false)", "stored is Slice(id='s9'"),
        ("DELETE FROM ledger_slice_scope WHERE account = 'budget:a'", "slice s1 counts in budget:a is not stored"),
        ("INSERT INTO ledger_slice_scope VALUES ('budget:b', 's1')", "counts in budget:b is stored and not in the log"),
        ("UPDATE ledger_account SET sliced = sliced - 1 WHERE id = 'budget:a'", "stored is Account(id='budget:a'"),
        ("UPDATE ledger_account SET recalled_seq = 0 WHERE id = 'budget:a'", "stored is Account(id='budget:a'"),
        ("UPDATE ledger_entry SET amount_micro = 1 WHERE key = 'charge:c1'", "where 170 is due"),
        ("UPDATE ledger_entry SET requests = 1 WHERE key = 'charge:c1'", "its digest is not that of its fields"),
        ("UPDATE ledger_entry SET ref = 'gw_2' WHERE kind = 'draw'", "its digest is not that of its fields"),
        ("UPDATE ledger_entry SET amount_micro = 9999 WHERE kind = 'return'", "which has less"),
    ],
)
def test_l9_what_was_changed_of_slices_is_found(sliced: Desk, statement: str, problem: str) -> None:
    tamper(sliced, statement)
    found = sliced.verify()
    assert not found.ok
    assert any(problem in line for line in found.problems), found.problems


def test_l6_a_key_used_twice_is_found(busy: Desk) -> None:
    tamper(busy, "DROP INDEX ix_ledger_entry_account_seq")
    rows = busy.dump()["ledger_entry"]

    def copy(session: WriteSession) -> None:
        # the table without its unique index, as a repair by hand might leave it
        connection = session._connection
        connection.execute(text("ALTER TABLE ledger_entry RENAME TO old_entry"))
        connection.execute(text("CREATE TABLE ledger_entry AS SELECT * FROM old_entry"))
        connection.execute(text("DROP TABLE old_entry"))
        row = dict(zip(tables.entries.c.keys(), rows[-1], strict=True))
        session.execute(tables.entries.insert(), row | {"seq": len(rows) + 1, "key": "t1"})

    busy.database.write_now(copy)
    assert any(f"seq {len(rows) + 1}: the key 't1' was used before" in line for line in busy.verify().problems)


def test_verify_names_a_bounded_number_of_problems(desk: Desk) -> None:
    desk.fund(10_000)
    desk.batch(*[place(f"h{n}", 1) for n in range(300)])

    def wreck(session: WriteSession) -> None:
        session.execute(update(tables.entries).values(digest="x"))
        session.execute(delete(tables.batches))

    desk.database.write_now(wreck)
    assert len(desk.verify().problems) == 100


def test_l9_rewriting_history_changes_the_published_hash(busy: Desk) -> None:
    published = busy.verify().head_hash
    busy.do(place("h9", 5, ends=NOW + 500))
    assert busy.verify().head_hash != published
    assert published in [row[3] for row in busy.dump()["ledger_batch"]]
