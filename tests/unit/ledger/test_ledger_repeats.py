"""The same key again: the same answer and no effect, or a conflict that names the field."""

import pytest
from msgspec.structs import replace

from surplus.kit.errors import IdempotencyConflict
from surplus.ledger.commands import Command, OpenAccount, PostHold, SetLimit, Transfer, VoidHold
from surplus.ledger.model import AccountKind, HoldState, LimitSet, Opened, Placed, Posted, Transferred, Voided
from tests.unit.ledger.book import NOW, WALLET, Book, budget, funded, place, post

OPEN = OpenAccount("o2", "wallet:org_2", AccountKind.WALLET, 0)
LIMIT = SetLimit("s1", WALLET.account, 7)
MOVE = Transfer("t2", "payments", WALLET.account, 5, "topup", "invoice 1", NOW)
PLACE = place("h1", 100, budget("a", 500), budget("b", None))
POST = post("h1", 60)


def used() -> Book:
    book = funded(1000)
    for command in (OPEN, LIMIT, MOVE, PLACE, POST, place("h2", 10), VoidHold("h2", "why")):
        book.do(command)
    return book


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (OPEN, Opened("wallet:org_2", 0, first=False)),
        (LIMIT, LimitSet(WALLET.account, 7, first=False)),
        (MOVE, Transferred("t2", 6, first=False)),
        (PLACE, Placed("h1", HoldState.POSTED, first=False)),
        (POST, Posted("h1", 60, 0, first=False)),
        (VoidHold("h2", "why"), Voided("h2", first=False)),
    ],
)
def test_l6_a_repeat_gets_the_first_answer_and_has_no_effect(command: Command, answer: object) -> None:
    book = used()
    before = len(book.log)
    assert book.do(command) == answer
    assert len(book.log) == before


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (replace(OPEN, account="wallet:org_3"), "account"),
        (replace(OPEN, kind=AccountKind.BUDGET), "kind"),
        (replace(OPEN, limit=1), "limit"),
        (replace(LIMIT, limit=8), "limit"),
        (replace(LIMIT, limit=None), "limit"),
        (replace(LIMIT, account="payments"), "account"),
        (replace(MOVE, debit="adjustment"), "debit"),
        (replace(MOVE, credit="wallet:org_2"), "credit"),
        (replace(MOVE, amount_micro=6), "amount_micro"),
        (replace(MOVE, code="x"), "code"),
        (replace(MOVE, ref="x"), "ref"),
        (replace(MOVE, event_at=NOW + 1), "event_at"),
        (replace(PLACE, wallet=replace(WALLET, account="wallet:org_2")), "wallet"),
        (replace(PLACE, budgets=PLACE.budgets[:1]), "budgets"),
        (replace(PLACE, amount_micro=101), "amount_micro"),
        (replace(PLACE, deadline=NOW + 61), "deadline"),
        (replace(PLACE, ref="x"), "ref"),
        (replace(POST, grains=POST.grains + 1), "grains"),
        (replace(POST, revenue="revenue:other"), "revenue"),
        (replace(POST, ref="x"), "ref"),
        (replace(POST, event_at=NOW + 1), "event_at"),
        (SetLimit("t2", WALLET.account, 5), "command"),
    ],
)
def test_l6_another_body_is_a_conflict_that_names_the_field(command: Command, field: str) -> None:
    book = used()
    before = len(book.log)
    conflict = book.do(command)
    assert isinstance(conflict, IdempotencyConflict)
    assert (conflict.param, conflict.detail["field"]) == (field, field)
    assert len(book.log) == before


def test_the_order_of_budgets_and_newer_limits_do_not_make_another_hold() -> None:
    book = used()
    again = replace(PLACE, budgets=(budget("b", 1), budget("a", 2)))
    assert book.do(again) == Placed("h1", HoldState.POSTED, first=False)


def test_a_repeat_of_a_place_says_what_became_of_the_hold() -> None:
    book = funded(1000)
    book.do(PLACE)
    assert book.do(PLACE) == Placed("h1", HoldState.PLACED, first=False)
    book.now = PLACE.deadline + 5
    book.do(VoidHold("h1", ""))
    assert book.do(PLACE) == Placed("h1", HoldState.EXPIRED, first=False)


def test_a_post_with_another_cost_conflicts_even_after_a_late_one() -> None:
    book = funded(1000)
    book.do(PLACE)
    book.now = PLACE.deadline
    book.do(POST)
    assert isinstance(book.do(PostHold("h1", 1, "revenue:tokens", "h1", NOW)), IdempotencyConflict)
    assert book.do(POST) == Posted("h1", 0, 60, first=False)
