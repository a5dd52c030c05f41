"""Balances, holds and entries as they are read."""

import pytest
from msgspec.structs import replace

from surplus.ledger import service
from surplus.ledger.commands import OpenAccount, SetLimit, Transfer, VoidHold
from surplus.ledger.errors import UnknownAccount, UnknownHold
from surplus.ledger.model import AccountKind, EntryKind, HoldState
from tests.db.ledger.desk import NOW, WALLET, Desk, budget, place, post


def test_credit_is_available_and_held_and_settled(desk: Desk) -> None:
    desk.fund(1000, limit=50)
    desk.batch(place("h1", 300), place("h2", 200))
    desk.do(post("h1", 120))
    found = desk.balance()
    assert (found.available, found.held, found.debits) == (730, 200, 120)
    assert found.credits + 50 == found.available + found.held + found.debits


def test_an_account_without_a_limit_has_no_available_amount(desk: Desk) -> None:
    desk.fund(1000)
    assert desk.balance("payments").available is None
    assert desk.balance("payments").balance == -1000


def test_the_carry_is_read_in_grains(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 10), post("h1", 3, grains=77))
    assert desk.balance().carry_grains == 77


def test_h4_a_balance_honours_a_deadline_that_nothing_has_swept(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 300, budget("a", 900), ends=NOW + 10), place("h2", 200, budget("a", 900)))
    desk.now = NOW + 10
    assert (desk.balance().held, desk.balance().available) == (200, 800)
    assert (desk.balance("budget:a").held, desk.balance("budget:a").available) == (200, 700)
    desk.now = NOW + 9.999999
    assert (desk.balance().held, desk.balance("budget:a").held) == (500, 500)


def test_balances_leaves_out_what_does_not_exist(desk: Desk) -> None:
    desk.fund(1000)
    found = desk.database.read_now(service.balances, [WALLET.account, "budget:none"], now=NOW)
    assert set(found) == {WALLET.account}


def test_unknown_names_are_refused(desk: Desk) -> None:
    with pytest.raises(UnknownAccount, match="wallet:org_1"):
        desk.balance()
    with pytest.raises(UnknownHold, match="h1"):
        desk.database.read_now(service.hold, "h1")
    with pytest.raises(UnknownAccount):
        desk.database.read_now(service.entries, "wallet:org_1")


def test_a_hold_is_read_with_how_it_ended(desk: Desk) -> None:
    desk.fund(1000)
    desk.do(place("h1", 300, budget("b", 900), budget("a", 900)))
    desk.now = NOW + 3
    desk.do(post("h1", 400))
    hold = desk.database.read_now(service.hold, "h1")
    assert (hold.state, hold.amount, hold.posted, hold.overrun) == (HoldState.POSTED, 300, 300, 100)
    assert (hold.placed_at, hold.ended_at, hold.deadline) == (NOW, NOW + 3, NOW + 60)
    assert hold.scopes == (WALLET.account, "budget:a", "budget:b")


def test_active_holds_by_the_beginning_of_their_ref(desk: Desk) -> None:
    desk.fund(1000)
    refs = {"h1": "gw_1/a", "h2": "gw_1/b", "h3": "gwx1/c", "h4": "gw_1/d"}
    for hold, ref in refs.items():
        command = place(hold, 1, ends=NOW + 90 - int(hold[1]))
        desk.do(replace(command, ref=ref))
    desk.do(VoidHold("h2", ""))

    def active(prefix: str | None, limit: int = 10) -> list[str]:
        found = desk.database.read_now(service.active_holds, ref_prefix=prefix, limit=limit)
        return [hold.id for hold in found]

    assert active("gw_1/") == ["h4", "h1"]
    assert active(None) == ["h4", "h3", "h1"]
    assert active(None, limit=2) == ["h4", "h3"]


def test_the_entries_of_an_account_in_order_and_in_pages(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(OpenAccount("o2", "wallet:org_2", AccountKind.WALLET, 50))
    desk.batch(place("h1", 10, budget("a", 99)), post("h1", 4))
    desk.batch(place("h3", 10), SetLimit("s1", WALLET.account, 5), VoidHold("h3", "left"))
    desk.now = NOW + 60
    desk.do(Transfer("t2", WALLET.account, "wallet:org_2", 1, "gift", "", NOW))
    found = desk.database.read_now(service.entries, WALLET.account)
    assert [entry.kind for entry in found] == [
        EntryKind.OPEN, EntryKind.TRANSFER, EntryKind.PLACE, EntryKind.POST, EntryKind.PLACE, EntryKind.LIMIT,
        EntryKind.VOID, EntryKind.TRANSFER,
    ]  # fmt: skip
    pages = [desk.database.read_now(service.entries, WALLET.account, after_seq=after, limit=3) for after in (0, 9)]
    assert pages[0] == found[:3]
    assert [entry.seq > 9 for entry in pages[1]] == [True] * 3
    received = desk.database.read_now(service.entries, "wallet:org_2")
    assert [entry.kind for entry in received] == [EntryKind.OPEN, EntryKind.TRANSFER]


def test_the_entries_of_overruns_are_those_that_cost_the_operator(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 10, budget("a", 99)), place("h2", 10), post("h1", 4), post("h2", 15))
    found = {name: desk.database.read_now(service.entries, name) for name in ("overrun", "budgeted")}
    assert [(entry.kind, entry.hold) for entry in found["overrun"]] == [(EntryKind.OPEN, ""), (EntryKind.POST, "h2")]
    assert [(entry.kind, entry.hold) for entry in found["budgeted"]] == [(EntryKind.OPEN, ""), (EntryKind.POST, "h1")]


def test_the_entries_of_a_budget_are_those_that_count_in_it(desk: Desk) -> None:
    desk.fund(1000)
    desk.batch(place("h1", 10, budget("a%", 99)), place("h2", 10, budget("ab", 99)), post("h1", 4), post("h2", 5))
    desk.do(Transfer("t2", "budgeted", "budget:a%", 4, "refund", "", NOW))
    found = desk.database.read_now(service.entries, "budget:a%")
    assert [(entry.kind, entry.hold) for entry in found] == [
        (EntryKind.OPEN, ""), (EntryKind.PLACE, "h1"), (EntryKind.POST, "h1"), (EntryKind.TRANSFER, ""),
    ]  # fmt: skip
    assert desk.database.read_now(service.entries, "budget:a%", after_seq=found[1].seq, limit=1) == found[2:3]
