"""A slice in memory: it never grants what it does not have, and knows when to ask, to wait and to give back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.gateway.escrow import GROWTH_S, HOLDS, Slice, bound_micro
from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.ledger.commands import DrawSlice, Wish
from surplus.ledger.model import AccountKind, Scope
from tests.unit.gateway.parts import NOW, TRIES

WALLET = Scope("wallet:org_1", AccountKind.WALLET, 0)
BUDGETS = (Scope("budget:bud_1:all", AccountKind.BUDGET, 50),)


def empty(start: float = -math.inf, end: float = math.inf) -> Slice:
    return Slice("slice_1", "gw_1", ("org_1",), WALLET, BUDGETS, start, end)


def filled(micro: int, *, hold: int = 1) -> Slice:
    """A slice that asked for the first time because of a hold, and got this much."""
    one = empty()
    one.grant(hold, NOW)
    one.wish(hold, NOW)
    one.filled(micro, NOW)
    return one


def test_no_more_is_granted_than_the_slice_has() -> None:
    one = filled(100)
    assert [one.grant(micro, NOW) for micro in (60, 41, 40, 0, 1)] == [True, False, True, True, False]
    assert (one.granted, one.free) == (100, 0)


def test_what_a_request_will_not_be_charged_is_free_as_soon_as_it_ends() -> None:
    one = filled(100)
    one.grant(60, NOW)
    one.ended(60, 20 * GRAINS_PER_MICRO)
    assert (one.amount, one.granted) == (100, 21), "it may be charged what others left of a micro-dollar"
    one.charged(21, 20)
    assert (one.amount, one.granted) == (80, 0)


@TRIES
@given(
    held=st.integers(0, 50), grains=st.integers(0, 60 * GRAINS_PER_MICRO), carry=st.integers(0, GRAINS_PER_MICRO - 1)
)
def test_a_charge_never_exceeds_its_bound(held: int, grains: int, carry: int) -> None:
    actual, _ = settle(carry, grains)
    assert min(actual, held) <= bound_micro(held, grains) <= held


def test_a_request_that_cost_nothing_leaves_nothing_granted() -> None:
    assert bound_micro(50, 0) == 0


def test_a_slice_begins_with_some_holds_and_doubles_while_it_is_emptied_quickly() -> None:
    one = empty()
    assert one.wish(10, NOW) == Wish("slice_1", "gw_1", 10 * HOLDS)
    one.filled(10 * HOLDS, NOW)
    assert one.wish(10, NOW + GROWTH_S / 2).want_micro == 20 * HOLDS
    assert one.wish(10, NOW + GROWTH_S).want_micro == 20 * HOLDS, "in its own time it stays as large"
    assert one.wish(100, NOW + GROWTH_S).want_micro == 100 * HOLDS


def test_it_is_filled_up_before_it_is_empty() -> None:
    one = filled(16)
    one.grant(7, NOW)
    assert one.refill() is None, "more than half is there"
    one.grant(2, NOW)
    assert one.refill() == DrawSlice("slice_1", "gw_1", WALLET, BUDGETS, want_micro=9, hold_micro=7)


def test_nothing_is_asked_for_while_money_is_scarce() -> None:
    one = filled(16)
    one.grant(16, NOW)
    one.filled(0, NOW)
    assert (one.scarce, one.refill()) == (True, None)
    one.filled(5, NOW)
    assert (one.scarce, one.refill() is None) == (False, False)


def test_once_given_back_nothing_is_granted_until_more_is_drawn() -> None:
    one = filled(100)
    one.grant(30, NOW)
    one.doubtful = True
    assert one.give_back() == 30
    assert (one.amount, one.free, one.doubtful, one.returned) == (30, 0, False, True)
    one.ended(30, 0)
    assert (one.free, one.grant(1, NOW), one.refill()) == (30, False, None), "what gets free goes back"
    one.filled(50, NOW)
    assert one.grant(80, NOW)


@pytest.mark.parametrize(("at", "valid"), [(NOW - 1, False), (NOW, True), (NOW + 9, True), (NOW + 10, False)])
def test_it_is_for_requests_of_its_own_window(at: float, valid: bool) -> None:
    assert empty(NOW, NOW + 10).valid(at) is valid
