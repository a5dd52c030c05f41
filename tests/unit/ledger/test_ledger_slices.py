"""Slices in the ledger: when money is spared for them, when it is asked back, and what they are charged."""

import pytest

from surplus.kit.errors import IdempotencyConflict
from surplus.ledger.commands import PlaceHold, ReturnSlice, SetLimit, Wish
from surplus.ledger.errors import InsufficientFunds, WrongAccount
from surplus.ledger.model import AccountKind, Charged, Drawn, Placed, Recalled, Returned, Scope
from surplus.ledger.slices import HOLDS_MIN, SCARCE_S, SHARE
from tests.unit.ledger.book import NOW, WALLET, budget, charge, draw, funded, place

LEAST = SHARE * HOLDS_MIN
"""So many of the largest hold have to be left, or there are no slices."""


def wish(hold: str, amount: int, *budgets: Scope, want: int = 0, final: bool = False) -> PlaceHold:
    return PlaceHold(hold, WALLET, budgets, amount, NOW + 60, hold, Wish("s1", "gw_1", want), final=final)


@pytest.mark.parametrize(
    ("credit", "hold", "want", "drawn"),
    [
        (LEAST * 10, 10, 1000, 40),
        (LEAST * 10 - 1, 10, 1000, 0),
        (LEAST * 100, 10, 1000, 400),
        (LEAST * 100, 10, 33, 33),
        (LEAST * 100, 10, 9, 0),
        (LEAST, 1, 5, 4),
        (SHARE, 0, 5, 1),
        (SHARE - 1, 0, 5, 0),
    ],
)
def test_a_slice_gets_at_most_a_share_and_only_far_from_the_cap(credit: int, hold: int, want: int, drawn: int) -> None:
    book = funded(credit)
    assert book.do(draw("s1", want, hold=hold)) == Drawn("s1", drawn)
    assert book.account(WALLET.account).net == credit - drawn


def test_the_narrowest_scope_decides() -> None:
    book = funded(10**9)
    assert book.do(draw("s1", 10**6, budget("a", 6400), budget("b", 3200), budget("c", None))) == Drawn("s1", 100)
    assert {name: account.sliced for name, account in book.state.accounts.items() if account.sliced} == {
        WALLET.account: 100,
        "budget:a": 100,
        "budget:b": 100,
        "budget:c": 100,
    }


def test_a_hold_becomes_a_slice_where_there_is_enough_and_a_hold_where_there_is_not() -> None:
    book = funded(LEAST * 10)
    assert book.do(wish("h1", 10, want=30)) == Drawn("s1", 30)
    assert "h1" not in book.state.holds
    near = funded(LEAST * 10 - 1)
    assert near.do(wish("h1", 10, want=30)) == Placed("h1", "placed", first=True)


def test_a_slice_keeps_its_holder_and_its_accounts() -> None:
    book = funded(10**6)
    book.do(draw("s1", 100))
    assert book.do(draw("s1", 100, budget("a", 10**6))) == Drawn("s1", 0)
    assert book.do(draw("s1", 100)) == Drawn("s1", 100)
    assert book.state.slices["s1"].amount == 200


def test_nobody_is_refused_before_slices_were_asked_for_what_is_idle() -> None:
    book = funded(1000)
    book.do(draw("s1", 31))
    assert book.do(place("h1", 1000)) == Recalled((WALLET.account,))
    asked = len(book.log)
    assert book.do(place("h1", 1000)) == Recalled((WALLET.account,))
    assert len(book.log) == asked, "once is enough"
    assert book.do(ReturnSlice("s1", 0)) == Returned("s1", 31)
    assert book.do(place("h1", 1000)) == Placed("h1", "placed", first=True)


def test_who_has_answered_is_not_waited_for() -> None:
    book = funded(1000)
    book.do(draw("s1", 31))
    book.do(place("h1", 1000))
    assert book.do(ReturnSlice("s1", 31)) == Returned("s1", 0)
    assert isinstance(book.do(place("h1", 1000)), InsufficientFunds)


def test_slices_are_not_asked_for_what_they_do_not_have() -> None:
    book = funded(1000)
    book.do(draw("s1", 31))
    before = len(book.log)
    assert isinstance(book.do(place("h1", 1001)), InsufficientFunds)
    assert len(book.log) == before


def test_the_last_try_is_refused() -> None:
    book = funded(1000)
    book.do(draw("s1", 31))
    assert isinstance(book.do(wish("h1", 1000, final=True)), InsufficientFunds)


def test_after_a_recall_slices_are_small_beside_the_hold_that_found_too_little() -> None:
    book = funded(10_000)
    book.do(draw("s1", 300))
    book.do(place("h1", 9900))
    book.do(ReturnSlice("s1", 0))
    assert book.do(draw("s1", 300)) == Drawn("s1", 0)
    book.now = NOW + SCARCE_S
    assert book.do(draw("s1", 300)) == Drawn("s1", 300)


def test_a_lower_limit_asks_back_what_is_idle() -> None:
    book = funded(10**6)
    book.do(draw("s1", 300, budget("a", 10_000)))
    book.do(SetLimit("l1", "budget:a", 100))
    account = book.account("budget:a")
    assert (account.net, account.floor, account.recalled_seq) == (-300, -300, book.state.seq)
    book.do(ReturnSlice("s1", 120))
    assert (account.net, account.floor) == (-120, -120)
    book.do(charge("s1", "c1", 20))
    assert (account.net, account.floor) == (-120, -120)


def test_each_request_is_charged_at_most_what_it_was_granted() -> None:
    book = funded(10**6)
    book.do(draw("s1", 300))
    assert book.do(charge("s1", "c1", 40, 0, 130)) == Charged("s1", (40, 0, 100), (0, 0, 30), first=True)
    assert (book.state.slices["s1"].amount, book.account("overrun").debits) == (160, 30)
    assert book.log[-1].requests == 3


def test_all_together_are_charged_at_most_what_the_slice_has() -> None:
    book = funded(10**6)
    book.do(draw("s1", 150))
    assert book.do(charge("s1", "c1", 100, 100)) == Charged("s1", (100, 50), (0, 50), first=True)
    assert "s1" not in book.state.slices
    assert book.do(charge("s1", "c2", 5)) == Charged("s1", (0,), (5,), first=True)
    assert book.account(WALLET.account).held == 0


def test_a_charge_happens_once() -> None:
    book = funded(10**6)
    book.do(draw("s1", 300))
    book.do(charge("s1", "c1", 40))
    assert book.do(charge("s1", "c1", 40)) == Charged("s1", (), (), first=False)
    conflict = book.do(charge("s1", "c1", 41))
    assert isinstance(conflict, IdempotencyConflict)
    assert book.state.slices["s1"].amount == 260


def test_a_slice_pays_for_its_own_wallet_only() -> None:
    book = funded(10**6)
    book.do(draw("s1", 300))
    before = len(book.log)
    other = Scope("wallet:org_2", AccountKind.WALLET, 0)
    assert isinstance(book.do(charge("s1", "c1", 40, wallet=other)), WrongAccount)
    assert len(book.log) == before


def test_to_keep_more_than_there_is_changes_nothing() -> None:
    book = funded(10**6)
    book.do(draw("s1", 300))
    assert book.do(ReturnSlice("s1", 400)) == Returned("s1", 0)
    assert book.do(ReturnSlice("s9", 0)) == Returned("s9", 0)
    assert book.state.slices["s1"].amount == 300
