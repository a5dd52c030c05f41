"""Batches of commands on a real database."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, exc, update

from surplus.kit import outbox
from surplus.kit.db import Database, WriteSession
from surplus.kit.errors import IdempotencyConflict
from surplus.ledger import service, tables
from surplus.ledger.commands import Command, OpenAccount, SetLimit, Transfer, VoidHold
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownHold
from surplus.ledger.model import AccountKind, HoldState, LimitSet, Opened, Placed, Posted, Transferred, Voided
from tests.db.ledger.desk import NOW, WALLET, Desk, budget, place, post


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(database._write_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database._write_engine, "before_cursor_execute", note)


def test_a_batch_sees_the_effects_of_its_earlier_commands(desk: Desk) -> None:
    answers = desk.batch(
        OpenAccount("o1", WALLET.account, AccountKind.WALLET, 0),
        Transfer("t1", "payments", WALLET.account, 1000, "topup", "", NOW),
        place("h1", 700, budget("a", 700)),
        place("h2", 700),
        post("h1", 100),
        place("h2", 900),
        VoidHold("h2", ""),
        SetLimit("s1", WALLET.account, 5),
    )
    assert [type(answer) for answer in answers] == [
        Opened, Transferred, Placed, InsufficientFunds, Posted, Placed, Voided, LimitSet,
    ]  # fmt: skip
    assert (desk.balance().balance, desk.balance().held, desk.balance().available) == (900, 0, 905)
    assert desk.verify().ok


def test_one_batch_is_one_link_of_the_chain(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 1), place("h2", 1))
    links = desk.dump()["ledger_batch"]
    assert [(row[1], row[0]) for row in links] == [(1, 3), (4, 5)]
    assert links[1][2] == links[0][3]
    assert (desk.verify().entries, desk.verify().batches, desk.verify().head_hash) == (5, 2, links[1][3])


def test_a_batch_without_entries_leaves_no_link(desk: Desk) -> None:
    desk.fund(1000)
    before = desk.dump()
    assert desk.batch() == []
    assert isinstance(desk.do(place("h1", 5000)), InsufficientFunds)
    assert isinstance(desk.do(VoidHold("h9", "")), UnknownHold)
    assert isinstance(desk.do(OpenAccount("o9", WALLET.account, AccountKind.WALLET, 7)), Opened)
    assert desk.dump() == before


@pytest.mark.parametrize("size", [1, 300])
def test_a_batch_takes_fewer_than_ten_statements_whatever_its_size(desk: Desk, size: int) -> None:
    desk.fund(10**9)
    desk.batch(*[place(f"a{n}", 5, budget(f"x{n}", 9)) for n in range(size)])
    desk.batch(*[place(f"due{n}", 5, ends=NOW + 1) for n in range(size)])
    desk.now = NOW + 2
    mixed: list[Command] = []
    for n in range(size):
        mixed += [place(f"b{n}", 5, budget(f"y{n}", 9)), post(f"a{n}", 5), VoidHold(f"b{n}", ""), place(f"a{n}", 5)]
        mixed += [place(f"a{n}", 5, budget(f"x{n}", 9)), Transfer(f"m{n}", "payments", WALLET.account, 1, "", "", NOW)]
    with statements(desk.database) as seen:
        answers = desk.batch(*mixed)
    assert len([s for s in seen if not s.startswith(("BEGIN", "SELECT pg_advisory"))]) < 10
    assert [type(answer) for answer in answers[:6]] == [
        Placed, Posted, Voided, IdempotencyConflict, Placed, Transferred,
    ]  # fmt: skip
    assert desk.verify().ok


def test_l6_repeats_within_one_batch_and_across_batches(desk: Desk) -> None:
    desk.fund(1000)
    first, again, conflict = desk.batch(place("h1", 10), place("h1", 10), place("h1", 11))
    assert (first, again) == (
        Placed("h1", HoldState.PLACED, first=True),
        Placed("h1", HoldState.PLACED, first=False),
    )
    assert isinstance(conflict, IdempotencyConflict)
    assert conflict.param == "amount_micro"
    assert desk.do(place("h1", 10)) == Placed("h1", HoldState.PLACED, first=False)
    posted, void, repeat = desk.batch(post("h1", 4), VoidHold("h1", ""), post("h1", 4))
    assert posted == Posted("h1", 4, 0, first=True)
    assert void == repeat == Posted("h1", 4, 0, first=False)
    assert desk.do(place("h1", 10)) == Placed("h1", HoldState.POSTED, first=False)
    assert desk.balance().debits == 4


def test_l6_a_refused_transfer_answers_the_same_from_the_database(desk: Desk) -> None:
    desk.fund(100)
    move = Transfer("t2", WALLET.account, "payments", 500, "refund", "", NOW)
    first = desk.do(move)
    desk.do(Transfer("t3", "payments", WALLET.account, 1000, "topup", "", NOW))
    again = desk.do(move)
    assert isinstance(first, InsufficientFunds)
    assert isinstance(again, InsufficientFunds)
    assert (again.detail, again.message) == (first.detail, first.message)
    assert isinstance(desk.do(Transfer("t2", WALLET.account, "payments", 5, "refund", "", NOW)), IdempotencyConflict)


def test_a_bad_command_leaves_its_neighbours_alone(desk: Desk) -> None:
    desk.fund(1000)
    answers = desk.batch(place("h1", 10), place("h\x00", 10), place("h2", 10, ends=float("nan")), place("h3", 10))
    assert [type(answer) for answer in answers] == [Placed, BadCommand, BadCommand, Placed]
    assert desk.balance().held == 20


def test_whole_numbers_given_for_instants_are_stored_as_they_will_be_read(desk: Desk) -> None:
    desk.now = 1_800_000_000
    desk.fund(1000)
    desk.do(place("h1", 10, ends=1_800_000_060))
    assert desk.do(place("h1", 10, ends=1_800_000_060.0)) == Placed("h1", HoldState.PLACED, first=False)
    assert desk.verify().ok


def test_h4_due_holds_expire_at_the_start_of_every_batch_as_of_their_deadline(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 600, ends=NOW + 10), place("h2", 400, ends=NOW + 20))
    desk.now = NOW + 15
    assert isinstance(desk.do(place("h3", 600)), Placed)
    hold = desk.database.read_now(service.hold, "h1")
    assert (hold.state, hold.ended_at) == (HoldState.EXPIRED, NOW + 10)
    assert desk.database.read_now(service.hold, "h2").state is HoldState.PLACED
    assert desk.batch() == []
    desk.now = NOW + 20
    desk.batch()
    assert desk.database.read_now(service.hold, "h2").ended_at == NOW + 20
    assert desk.verify().ok


def test_h4_a_batch_expires_a_bounded_number_of_holds_earliest_first(desk: Desk) -> None:
    desk.fund(10**6)
    count = service.EXPIRED_PER_BATCH + 5
    desk.batch(*[place(f"h{n:04}", 1, ends=NOW + 5000 - n) for n in range(count)])
    desk.now = NOW + 10_000
    desk.batch()
    assert [hold.id for hold in desk.database.read_now(service.active_holds)] == [f"h{n:04}" for n in (4, 3, 2, 1, 0)]
    assert desk.balance().held == 0
    assert desk.do(post("h0003", 1)) == Posted("h0003", 0, 1, first=True)
    assert desk.database.read_now(service.active_holds) == []
    assert desk.verify().ok


def test_h6_every_overrun_is_told(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 100), place("h2", 100), place("h3", 100, ends=NOW + 1))
    desk.batch(post("h1", 100), post("h2", 130))
    desk.now = NOW + 2
    desk.batch(post("h3", 7), post("h2", 130))
    messages = desk.database.read_now(outbox.pending, "test")
    assert [message.topic for message in messages] == [service.OVERRUN_TOPIC] * 2
    told = [(m.body["hold"], m.body["charged_micro"], m.body["overrun_micro"], m.body["late"]) for m in messages]
    assert told == [("h2", 100, 30, False), ("h3", 0, 7, True)]
    assert messages[0].body["wallet"] == WALLET.account
    assert messages[0].body["held_micro"] == 100


def test_l4_the_database_itself_refuses_to_overdraw(desk: Desk) -> None:
    desk.fund(1000)

    def overdraw(session: WriteSession) -> None:
        session.execute(update(tables.accounts).where(tables.accounts.c.id == WALLET.account).values(held=1001))

    with pytest.raises(exc.IntegrityError, match="ck_ledger_account_funds"):
        desk.database.write_now(overdraw)


def test_l2_a_second_entry_under_a_key_is_impossible(desk: Desk) -> None:
    desk.fund(1000)

    def again(session: WriteSession) -> None:
        row = dict(zip(tables.entries.c.keys(), desk.dump()["ledger_entry"][0], strict=True))
        session.execute(tables.entries.insert(), row | {"seq": 99})

    with pytest.raises(exc.IntegrityError):
        desk.database.write_now(again)


def test_l10_a_transaction_that_fails_leaves_nothing(desk: Desk) -> None:
    desk.fund(1000)
    before = desk.dump()

    def fail(session: WriteSession) -> None:
        service.apply(session, [place("h1", 10), post("h1", 50)], now=NOW)
        raise KeyError("afterwards")

    with pytest.raises(KeyError):
        desk.database.write_now(fail)
    assert desk.dump() == before
    assert desk.database.read_now(outbox.pending, "test") == []


def test_two_batches_in_one_transaction(desk: Desk) -> None:
    def both(session: WriteSession) -> None:
        service.apply(session, [OpenAccount("o1", WALLET.account, AccountKind.WALLET, 100)], now=NOW)
        service.apply(session, [place("h1", 10)], now=NOW)

    desk.database.write_now(both)
    assert desk.balance().held == 10
    assert (desk.verify().ok, desk.verify().batches) == (True, 2)
