"""Placing, posting, voiding and expiring holds."""

import pytest

from surplus.kit.money import GRAINS_PER_MICRO, MAX_MICRO
from surplus.ledger.commands import OpenAccount, PostHold, SetLimit, VoidHold
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownHold, WrongAccount
from surplus.ledger.model import AccountKind, EntryKind, Expired, HoldState, Placed, Posted, Scope, Voided
from tests.unit.ledger.book import NOW, WALLET, Book, budget, funded, place, post


def test_h1_a_hold_counts_in_every_scope() -> None:
    book = funded(1000)
    assert book.do(place("h1", 300, budget("a", 500), budget("b", 300))) == Placed("h1", HoldState.PLACED, first=True)
    assert [book.account(name).held for name in (WALLET.account, "budget:a", "budget:b")] == [300, 300, 300]
    assert book.log[-1].scopes == (WALLET.account, "budget:a", "budget:b")


def test_h1_a_hold_that_one_scope_refuses_counts_in_none() -> None:
    book = funded(1000)
    before = len(book.log)
    refusal = book.do(place("h1", 400, budget("a", 500), budget("b", 399)))
    assert isinstance(refusal, InsufficientFunds)
    assert (refusal.account, refusal.needed_micro, refusal.available_micro) == ("budget:b", 400, 399)
    assert len(book.log) == before
    assert set(book.state.accounts) == {WALLET.account, "payments"}
    assert book.account(WALLET.account).held == 0


def test_a_refusal_names_the_wallet_first_and_says_what_is_held() -> None:
    book = funded(1000)
    book.do(place("h1", 600))
    refusal = book.do(place("h2", 500, budget("a", 10)))
    assert isinstance(refusal, InsufficientFunds)
    assert (refusal.account, refusal.available_micro, refusal.held_micro) == (WALLET.account, 400, 600)
    assert "0.000400" in refusal.message
    assert refusal.status == 429


def test_a_hold_may_use_the_last_micro_dollar_and_not_one_more() -> None:
    assert isinstance(funded(1000).do(place("h1", 1000)), Placed)
    assert isinstance(funded(1000).do(place("h1", 1001)), InsufficientFunds)
    assert isinstance(funded(1000, limit=50).do(place("h1", 1050)), Placed)
    assert isinstance(funded(1000, limit=50).do(place("h1", 1051)), InsufficientFunds)
    assert isinstance(funded(0, limit=None).do(place("h1", MAX_MICRO - 1)), Placed)


def test_a_hold_of_nothing_is_placed_and_posted() -> None:
    book = funded(0)
    assert isinstance(book.do(place("h1", 0)), Placed)
    assert book.do(post("h1", 0)) == Posted("h1", 0, 0, first=True)


@pytest.mark.parametrize(("cost", "charged", "overrun"), [(0, 0, 0), (299, 299, 0), (300, 300, 0), (420, 300, 120)])
def test_h3_posting_charges_at_most_what_was_held_and_releases_all_of_it(cost: int, charged: int, overrun: int) -> None:
    book = funded(1000)
    book.do(place("h1", 300, budget("a", 500)))
    assert book.do(post("h1", cost)) == Posted("h1", charged, overrun, first=True)
    wallet, scope = book.account(WALLET.account), book.account("budget:a")
    assert (wallet.debits, wallet.held, scope.debits, scope.held) == (charged, 0, charged, 0)
    assert book.account("revenue:tokens").credits == charged + overrun
    assert book.account("overrun").debits == overrun
    assert book.account("budgeted").credits == charged
    assert book.state.holds["h1"].state is HoldState.POSTED


def test_the_residue_of_a_micro_dollar_is_carried_to_the_next_charge() -> None:
    book = funded(1000)
    half = GRAINS_PER_MICRO // 2
    charges: list[int] = []
    for number in range(4):
        book.do(place(f"h{number}", 10))
        posted = book.do(post(f"h{number}", 1, grains=half))
        assert isinstance(posted, Posted)
        charges.append(posted.charged_micro)
    assert charges == [1, 2, 1, 2]
    assert book.account(WALLET.account).carry == 0


def test_h2_a_hold_ends_exactly_once() -> None:
    book = funded(1000)
    for name in ("posted", "voided"):
        book.do(place(name, 100))
    book.do(post("posted", 40))
    book.do(VoidHold("voided", "client left"))
    before = len(book.log)
    assert book.do(VoidHold("posted", "late")) == Posted("posted", 40, 0, first=False)
    assert book.do(post("voided", 40)) == Voided("voided", first=False)
    assert book.do(VoidHold("voided", "another reason")) == Voided("voided", first=False)
    assert len(book.log) == before
    assert book.account(WALLET.account).net == 960


def test_h2_settling_what_was_never_placed_is_refused() -> None:
    book = funded(1000)
    before = len(book.log)
    assert isinstance(book.do(post("h9", 1)), UnknownHold)
    assert isinstance(book.do(VoidHold("h9", "")), UnknownHold)
    assert len(book.log) == before


def test_h4_a_void_at_the_deadline_finds_the_hold_expired() -> None:
    book = funded(1000)
    book.do(place("h1", 100, ends=NOW + 60))
    book.now = NOW + 60
    assert book.do(VoidHold("h1", "")) == Expired("h1")
    entry = book.log[-1]
    assert (entry.kind, entry.event_at, entry.booked_at) == (EntryKind.EXPIRE, NOW + 60, NOW + 60)
    assert book.account(WALLET.account).held == 0
    assert book.do(VoidHold("h1", "")) == Expired("h1")


def test_h4_one_moment_before_the_deadline_a_hold_still_holds() -> None:
    book = funded(1000)
    book.do(place("h1", 100, ends=NOW + 60))
    book.now = NOW + 59.999999
    assert book.do(post("h1", 70)) == Posted("h1", 70, 0, first=True)


def test_h6_a_post_after_expiry_is_all_overrun() -> None:
    book = funded(1000)
    book.do(place("h1", 100, budget("a", 500), ends=NOW + 60))
    book.now = NOW + 61
    assert book.do(post("h1", 70)) == Posted("h1", 0, 70, first=True)
    assert [entry.kind for entry in book.log[-2:]] == [EntryKind.OPEN, EntryKind.LATE]
    assert [entry.kind for entry in book.log if entry.hold == "h1"] == [
        EntryKind.PLACE,
        EntryKind.EXPIRE,
        EntryKind.LATE,
    ]
    assert book.account(WALLET.account).net == 1000
    assert (book.account("overrun").debits, book.account("revenue:tokens").credits) == (70, 70)
    hold = book.state.holds["h1"]
    assert (hold.state, hold.posted, hold.overrun, hold.ended_at) == (HoldState.EXPIRED, 0, 70, NOW + 60)
    assert book.do(post("h1", 70)) == Posted("h1", 0, 70, first=False)


def test_l7_an_expired_hold_stays_expired_when_the_clock_steps_back() -> None:
    book = funded(1000)
    book.do(place("h1", 100, ends=NOW + 60))
    book.now = NOW + 61
    book.do(VoidHold("h1", ""))
    book.now = NOW - 1000
    assert book.do(post("h1", 10)) == Posted("h1", 0, 10, first=True)
    assert [entry.seq for entry in book.log] == list(range(1, len(book.log) + 1))
    assert [entry.booked_at for entry in book.log if entry.hold] == [NOW, NOW + 61, NOW - 1000]


def test_a_deadline_that_has_passed_is_refused() -> None:
    book = funded(1000)
    assert isinstance(book.do(place("h1", 10, ends=NOW)), BadCommand)
    assert isinstance(book.do(place("h1", 10, ends=NOW + 0.000001)), Placed)


def test_h5_a_lowered_limit_keeps_what_is_held_and_admits_no_more() -> None:
    book = funded(1000)
    book.do(place("h1", 60, budget("a", 100)))
    book.do(place("h2", 40, budget("a", 100)))
    book.do(SetLimit("s1", "budget:a", 50))
    account = book.account("budget:a")
    assert (account.net, account.floor, account.limit) == (-100, -100, 50)
    assert isinstance(book.do(place("h3", 1, budget("a", 100))), InsufficientFunds)
    book.do(VoidHold("h2", ""))
    assert (account.net, account.floor) == (-60, -60)
    assert isinstance(book.do(place("h3", 1, budget("a", 100))), InsufficientFunds)
    book.do(post("h1", 30))
    assert (account.net, account.floor) == (-30, -50)
    assert isinstance(book.do(place("h4", 20, budget("a", 100))), Placed)
    assert isinstance(book.do(place("h5", 1, budget("a", 100))), InsufficientFunds)


def test_h5_what_was_held_before_a_limit_was_lowered_can_be_charged_in_full() -> None:
    book = funded(1000)
    book.do(place("h1", 60, budget("a", 100)))
    book.do(SetLimit("s1", "budget:a", 0))
    assert book.do(post("h1", 60)) == Posted("h1", 60, 0, first=True)
    account = book.account("budget:a")
    assert (account.net, account.floor) == (-60, -60)


def test_the_limit_of_a_scope_matters_only_when_it_opens_the_account() -> None:
    book = funded(1000)
    book.do(place("h1", 10, budget("a", 10)))
    assert isinstance(book.do(place("h2", 1, budget("a", 10_000))), InsufficientFunds)
    assert book.account("budget:a").limit == 10


def test_a_soft_budget_counts_and_never_refuses() -> None:
    book = funded(1000)
    book.do(place("h1", 900, budget("soft", None)))
    book.do(post("h1", 900))
    assert (book.account("budget:soft").debits, book.account("budget:soft").floor) == (900, None)


def test_a_scope_of_the_wrong_kind_is_refused() -> None:
    book = funded(1000)
    book.do(OpenAccount("o2", "wallet:org_2", AccountKind.WALLET, 0))
    taken = Scope("wallet:org_2", AccountKind.BUDGET, 10)
    assert isinstance(book.do(place("h1", 1, taken)), WrongAccount)
    assert isinstance(book.do(place("h1", 1, wallet=budget("a", 5))), BadCommand)
    assert isinstance(book.do(place("h1", 1, Scope("b", AccountKind.WALLET, 5))), BadCommand)


def test_the_same_budget_twice_is_refused() -> None:
    assert isinstance(funded().do(place("h1", 1, budget("a", 5), budget("a", 5))), BadCommand)


def test_revenue_goes_to_revenue_accounts_only() -> None:
    book = funded(1000)
    book.do(place("h1", 100))
    assert isinstance(book.do(PostHold("h1", 0, WALLET.account, "h1", NOW)), WrongAccount)
    assert book.state.holds["h1"].state is HoldState.PLACED


def test_l8_held_money_that_no_number_can_hold_is_refused() -> None:
    book = Book()
    book.do(OpenAccount("o1", WALLET.account, AccountKind.WALLET, None))
    assert isinstance(book.do(place("h1", MAX_MICRO - 1)), Placed)
    assert isinstance(book.do(place("h2", 1)), BadCommand)
    assert isinstance(book.do(post("h1", MAX_MICRO)), BadCommand)
    assert isinstance(book.do(post("h1", MAX_MICRO - 2)), Posted)
    assert book.do(place("h3", 10)) == Placed("h3", HoldState.PLACED, first=True)
    assert isinstance(book.do(post("h3", 10)), BadCommand)
    assert book.state.holds["h3"].state is HoldState.PLACED
