"""Opening accounts, setting limits, moving money."""

from copy import deepcopy

import pytest

from surplus.kit.money import MAX_MICRO
from surplus.ledger.commands import OpenAccount, SetLimit, Transfer
from surplus.ledger.decide import decide
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownAccount, WrongAccount
from surplus.ledger.model import AccountKind, EntryKind, LimitSet, Opened, Transferred
from tests.unit.ledger.book import NOW, WALLET, Book, budget, funded, place


def move(key: str, debit: str, credit: str, amount: int) -> Transfer:
    return Transfer(key, debit, credit, amount, "code", "ref", NOW)


def test_an_account_is_opened_once() -> None:
    book = Book()
    assert book.do(OpenAccount("k1", "wallet:a", AccountKind.WALLET, 5)) == Opened("wallet:a", 5, first=True)
    assert book.do(OpenAccount("k2", "wallet:a", AccountKind.WALLET, 9)) == Opened("wallet:a", 5, first=False)
    assert [entry.kind for entry in book.log] == [EntryKind.OPEN]


def test_an_account_never_changes_its_kind() -> None:
    book = Book()
    book.do(OpenAccount("k1", "a", AccountKind.WALLET, 5))
    assert isinstance(book.do(OpenAccount("k2", "a", AccountKind.REVENUE, None)), WrongAccount)


def test_a_top_up_opens_the_house_account_and_moves_money() -> None:
    book = Book()
    book.do(OpenAccount("k1", WALLET.account, AccountKind.WALLET, 0))
    assert book.do(move("t1", "payments", WALLET.account, 700)) == Transferred("t1", 3, first=True)
    assert book.account(WALLET.account).credits == 700
    assert (book.account("payments").debits, book.account("payments").limit) == (700, None)


def test_money_that_is_held_cannot_be_moved_away() -> None:
    book = funded(1000)
    book.do(place("h1", 400))
    refusal = book.do(move("t2", WALLET.account, "payments", 601))
    assert isinstance(refusal, InsufficientFunds)
    assert (refusal.available_micro, refusal.held_micro) == (600, 400)
    assert isinstance(book.do(move("t3", WALLET.account, "payments", 600)), Transferred)


def test_l6_a_refused_transfer_stays_refused() -> None:
    book = funded(100)
    first = book.do(move("t2", WALLET.account, "payments", 500))
    assert book.log[-1].kind is EntryKind.REFUSED
    book.do(move("t3", "payments", WALLET.account, 1000))
    before = len(book.log)
    again = book.do(move("t2", WALLET.account, "payments", 500))
    assert isinstance(first, InsufficientFunds)
    assert isinstance(again, InsufficientFunds)
    assert again.detail == first.detail
    assert len(book.log) == before
    assert book.account(WALLET.account).net == 1100


def test_l6_a_transfer_refused_for_an_unknown_account_stays_refused() -> None:
    book = funded(100)
    first = book.do(move("t2", WALLET.account, "wallet:new", 50))
    book.do(OpenAccount("o2", "wallet:new", AccountKind.WALLET, 0))
    again = book.do(move("t2", WALLET.account, "wallet:new", 50))
    assert isinstance(first, UnknownAccount)
    assert isinstance(again, UnknownAccount)
    assert (first.account, again.account) == ("wallet:new", "wallet:new")
    assert isinstance(book.do(move("t3", WALLET.account, "wallet:new", 50)), Transferred)


def test_a_refused_transfer_opens_no_account() -> None:
    book = funded(0)
    before = set(book.state.accounts)
    assert isinstance(book.do(move("t2", WALLET.account, "adjustment", 500)), InsufficientFunds)
    assert set(book.state.accounts) == before


def test_l5_money_does_not_cross_currencies() -> None:
    book = funded(1000)
    book.do(place("h1", 10, budget("a", 500)))
    assert isinstance(book.do(move("t2", WALLET.account, "budget:a", 1)), WrongAccount)
    assert isinstance(book.do(move("t2", WALLET.account, "budgeted", 1)), WrongAccount)
    assert isinstance(book.do(move("t2", "budgeted", "budget:a", 1)), Transferred)
    assert book.log[-1].currency == "USD/budget"


@pytest.mark.parametrize("amount", [0, -1, MAX_MICRO, 10**30])
def test_l8_an_amount_out_of_range_is_refused(amount: int) -> None:
    book = funded(1000)
    before = len(book.log)
    assert isinstance(book.do(move("t2", "payments", WALLET.account, amount)), BadCommand)
    assert len(book.log) == before


def test_l8_a_total_out_of_range_is_refused() -> None:
    book = funded(1000)
    assert isinstance(book.do(move("t2", "payments", WALLET.account, MAX_MICRO - 1001)), Transferred)
    assert isinstance(book.do(move("t3", "payments", WALLET.account, 1)), BadCommand)
    assert book.account(WALLET.account).credits == MAX_MICRO - 1


def test_a_limit_can_be_set_and_lifted() -> None:
    book = funded(0)
    assert book.do(SetLimit("s1", WALLET.account, 30)) == LimitSet(WALLET.account, 30, first=True)
    assert isinstance(book.do(move("t2", WALLET.account, "payments", 31)), InsufficientFunds)
    assert book.do(SetLimit("s2", WALLET.account, None)) == LimitSet(WALLET.account, None, first=True)
    assert isinstance(book.do(move("t3", WALLET.account, "payments", 31)), Transferred)
    book.do(SetLimit("s3", WALLET.account, 0))
    assert (book.account(WALLET.account).net, book.account(WALLET.account).floor) == (-31, -31)
    book.do(move("t4", "payments", WALLET.account, 40))
    assert book.account(WALLET.account).floor == 0


def test_the_limit_of_an_unknown_account_cannot_be_set() -> None:
    assert isinstance(Book().do(SetLimit("s1", "wallet:x", 30)), UnknownAccount)


def test_only_wallets_and_budgets_have_limits() -> None:
    book = funded(1000)
    assert isinstance(book.do(SetLimit("s1", "payments", 30)), WrongAccount)


def test_decide_leaves_the_state_as_it_is() -> None:
    book = funded(1000)
    book.do(place("h1", 10, budget("a", 100)))
    for command in (move("t2", "payments", WALLET.account, 5), place("h2", 5, budget("b", 9)), SetLimit("s", "a", 1)):
        before = deepcopy(book.state)
        decide(book.state, command, NOW)
        assert book.state == before
