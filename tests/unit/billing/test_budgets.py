import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.billing.budgets import Budget, BudgetScope, BudgetState, Period, crossed, window
from surplus.kit.clock import parse_iso

NEW_YEARS_EVE = parse_iso("2026-12-31T23:59:59.999999Z")
NEW_YEAR = parse_iso("2027-01-01T00:00:00Z")


def a_budget(*, period: Period = Period.MONTH, hard: bool = True) -> Budget:
    return Budget("bud_1", "org_1", BudgetScope.KEY, "key_1", 1000, period, hard, 0.0)


@pytest.mark.parametrize(
    ("period", "before", "after"),
    [
        (Period.DAY, "2026-12-31", "2027-01-01"),
        (Period.MONTH, "2026-12", "2027-01"),
        (Period.FOREVER, "all", "all"),
    ],
)
def test_windows_turn_at_midnight_utc(period: Period, before: str, after: str):
    assert window(period, NEW_YEARS_EVE) == before
    assert window(period, NEW_YEAR) == after


def test_windows_do_not_follow_the_viewers_clock():
    assert window(Period.DAY, parse_iso("2027-01-01T04:59:59+05:00")) == "2026-12-31"


def test_every_window_has_an_account_of_its_own():
    budget = a_budget(period=Period.DAY)
    assert budget.account(NEW_YEARS_EVE) == "budget:bud_1:2026-12-31"
    assert budget.account(NEW_YEAR) == "budget:bud_1:2027-01-01"


def test_only_a_hard_budget_is_enforced():
    assert a_budget(hard=True).limit == 1000
    assert a_budget(hard=False).limit is None


def test_what_is_left_counts_what_is_held():
    assert BudgetState(a_budget(), "2026-12", spent_micro=300, held_micro=50).left_micro == 650
    assert BudgetState(a_budget(hard=False), "2026-12", spent_micro=1300, held_micro=0).left_micro == -300


@pytest.mark.parametrize(
    ("before", "after", "cap", "expected"),
    [
        (0, 49, 100, []),
        (0, 50, 100, [50]),
        (49, 50, 100, [50]),
        (50, 51, 100, []),
        (49, 80, 100, [50, 80]),
        (0, 100, 100, [50, 80, 100]),
        (99, 500, 100, [100]),
        (100, 500, 100, []),
        (60, 40, 100, []),
        (0, 1, 3, []),
        (1, 2, 3, [50]),
        (2, 3, 3, [80, 100]),
        (0, 0, 0, []),
        (0, 1, 0, [50, 80, 100]),
        (1, 2, 0, []),
        (400_000, 400_001, 15_000_000, []),
    ],
)
def test_thresholds_are_crossed_once_and_at_percent_of_the_cap(before: int, after: int, cap: int, expected: list[int]):
    assert crossed(before, after, cap) == expected


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**12), min_size=2).map(sorted))
def test_each_threshold_is_told_once_however_spending_is_cut_up(cap: int, spending: list[int]):
    told = [percent for at in range(1, len(spending)) for percent in crossed(spending[at - 1], spending[at], cap)]
    assert told == crossed(spending[0], spending[-1], cap)


@given(st.integers(1, 10**12), st.integers(0, 2 * 10**12))
def test_a_threshold_is_reached_exactly_where_spending_is_that_share_of_the_cap(cap: int, spent: int):
    assert crossed(0, spent, cap) == [percent for percent in (50, 80, 100) if spent * 100 >= cap * percent]
