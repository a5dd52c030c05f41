"""What entries move, and that it sums to zero."""

from collections import defaultdict

import pytest
from msgspec.structs import replace

from surplus.ledger.commands import ReturnSlice, SetLimit, Transfer, VoidHold
from surplus.ledger.evolve import Leg, evolve, legs
from surplus.ledger.model import Entry, EntryKind
from tests.unit.ledger.book import NOW, WALLET, budget, charge, draw, funded, place, post


def entry(kind: EntryKind, charged: int = 0, overrun: int = 0, scopes: tuple[str, ...] = ("w",)) -> Entry:
    return Entry(
        1, kind, "k", NOW, NOW, account="w", counter="r", currency="USD", scopes=scopes, amount_micro=charged,
        overrun_micro=overrun,
    )  # fmt: skip


def test_a_transfer_moves_from_debit_to_credit() -> None:
    assert legs(entry(EntryKind.TRANSFER, 5)) == (Leg("w", "USD", -5), Leg("r", "USD", 5))


@pytest.mark.parametrize(
    ("charged", "overrun", "moved"),
    [
        (0, 0, set()),
        (5, 0, {Leg("r", "USD", 5), Leg("w", "USD", -5)}),
        (0, 3, {Leg("r", "USD", 3), Leg("overrun", "USD", -3)}),
        (5, 3, {Leg("r", "USD", 8), Leg("w", "USD", -5), Leg("overrun", "USD", -3)}),
    ],
)
def test_a_charge_is_paid_by_the_wallet_and_the_overrun_by_the_operator(
    charged: int, overrun: int, moved: set[Leg]
) -> None:
    assert set(legs(entry(EntryKind.POST, charged, overrun))) == moved


def test_a_charge_counts_in_every_budget_in_a_currency_of_its_own() -> None:
    found = legs(entry(EntryKind.POST, 5, 3, ("w", "b1", "b2")))
    memo = {leg for leg in found if leg.currency != "USD"}
    assert memo == {
        Leg("b1", "USD/budget", -5),
        Leg("b2", "USD/budget", -5),
        Leg("budgeted", "USD/budget", 10),
    }


@pytest.mark.parametrize(
    "kind",
    sorted(set(EntryKind) - {EntryKind.TRANSFER, EntryKind.POST, EntryKind.LATE, EntryKind.CHARGE}),
)
def test_other_entries_move_nothing(kind: EntryKind) -> None:
    assert legs(entry(kind, 5, 3)) == ()


def test_l1_every_entry_sums_to_zero_and_the_totals_are_the_sums() -> None:
    book = funded(1000, limit=100)
    scopes = (budget("a", 900), budget("b", None))
    for hold in ("h1", "h2", "h3", "h4"):
        book.do(place(hold, 200, *scopes))
    book.do(post("h1", 150, grains=7))
    book.do(post("h2", 260, grains=8))
    book.do(VoidHold("h3", ""))
    book.do(SetLimit("s", "budget:a", 10))
    book.do(Transfer("t2", WALLET.account, "payments", 10**9, "refund", "", NOW))
    book.now = NOW + 60
    book.do(post("h4", 50))
    book.do(Transfer("t3", "payments", WALLET.account, 100_000, "topup", "", NOW))
    book.do(draw("s1", 300, budget("c", 9000)))
    book.do(charge("s1", "c1", 30, 150))
    book.do(charge("gone", "c2", 5))
    book.do(ReturnSlice("s1", 100))
    book.do(SetLimit("s2", "budget:c", 8000))
    assert {line.kind for line in book.log} == set(EntryKind)
    sums: dict[str, int] = defaultdict(int)
    for line in book.log:
        per_currency: dict[str, int] = defaultdict(int)
        for leg in legs(line):
            per_currency[leg.currency] += leg.delta
            sums[leg.account] += leg.delta
        assert set(per_currency.values()) <= {0}
    assert {name: a.credits - a.debits for name, a in book.state.accounts.items() if a.credits or a.debits} == dict(
        sums
    )


def test_l4_the_floor_under_an_account_never_comes_down_by_use() -> None:
    book = funded(1000)
    book.do(place("h1", 60))
    book.do(Transfer("t2", WALLET.account, "payments", 940, "refund", "", NOW))
    account = book.account(WALLET.account)
    for limit, floor in ((0, 0), (50, -50)):
        book.do(SetLimit(f"s{limit}", WALLET.account, limit))
        assert account.floor == floor
    book.do(place("h2", 50))
    book.do(SetLimit("s", WALLET.account, 10))
    assert (account.net, account.floor) == (-50, -50)
    # an entry that no rule admits: the floor stays, so that the database refuses the row
    evolve(book.state, replace(entry(EntryKind.TRANSFER, 5), account=WALLET.account, counter="payments"))
    assert (account.net, account.floor) == (-55, -50)
