from typing import Any

import pytest

from surplus.billing import service
from surplus.billing.budgets import Budget, BudgetScope, Period
from surplus.billing.errors import BadBudget, UnknownBudget
from surplus.kit import revisions
from surplus.kit.clock import parse_iso
from surplus.kit.db import Database
from surplus.kit.errors import SurplusError
from surplus.kit.ids import CountedIds
from surplus.kit.money import GRAINS_PER_MICRO, MAX_MICRO
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, PostHold, Scope, Transfer
from surplus.ledger.errors import InsufficientFunds
from surplus.ledger.model import AccountKind

NOW = parse_iso("2026-11-21T12:00:00Z")
TOMORROW = NOW + 86_400


class Office:
    """Sets budgets and spends against them, as the gateway does: every hold names the budget as it knows it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ids = CountedIds()
        wallet = OpenAccount("wallet", "wallet:org_1", AccountKind.WALLET, 0)
        self.apply(wallet, Transfer("top-up", "payments", "wallet:org_1", 10**9, "top_up", "", NOW))

    def apply(self, *commands: Command, now: float = NOW) -> list[Any]:
        outcomes = self.database.write_now(ledger.apply, commands, now=now)
        assert not any(isinstance(outcome, SurplusError) for outcome in outcomes[:-1])
        return list(outcomes)

    def set(self, *, cap: int = 1000, period: Period = Period.DAY, hard: bool = True, now: float = NOW, **of) -> Budget:
        facts = {"org": "org_1", "scope": BudgetScope.KEY, "scope_id": "key_1", **of}
        return self.database.write_now(
            service.set_budget, self.ids, cap_micro=cap, period=period, hard=hard, now=now, **facts
        )

    def delete(self, budget: Budget, *, org: str = "org_1", now: float = NOW) -> None:
        self.database.write_now(service.delete_budget, self.ids, org=org, budget_id=budget.id, now=now)

    def hold(self, budget: Budget, amount: int, *, now: float = NOW) -> str | None:
        """The id of a hold on the budget; None if the budget refuses."""
        hold = self.ids.new("req")
        wallet = Scope("wallet:org_1", AccountKind.WALLET, 0)
        budgets = (Scope(budget.account(now), AccountKind.BUDGET, budget.limit),)
        (outcome,) = self.apply(PlaceHold(hold, wallet, budgets, amount, now + 600, hold), now=now)
        if isinstance(outcome, InsufficientFunds):
            assert outcome.account == budget.account(now)
            return None
        assert not isinstance(outcome, SurplusError)
        return hold

    def spend(self, budget: Budget, amount: int, *, now: float = NOW) -> bool:
        hold = self.hold(budget, amount, now=now)
        if hold is not None:
            self.apply(PostHold(hold, amount * GRAINS_PER_MICRO, "revenue:tokens", hold, now), now=now)
        return hold is not None

    def state(self, *, now: float = NOW) -> tuple[int, int]:
        """What the present window of the one budget has spent and holds."""
        (state,) = self.database.read_now(service.list_budgets, "org_1", now=now)
        return state.spent_micro, state.held_micro


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database)


def test_a_new_budget_has_spent_nothing(office: Office):
    budget = office.set()
    (state,) = office.database.read_now(service.list_budgets, "org_1", now=NOW)
    assert (state.budget, state.window, state.spent_micro, state.held_micro) == (budget, "2026-11-21", 0, 0)
    assert state.left_micro == 1000


def test_a_hard_budget_lets_nothing_past_its_cap(office: Office):
    budget = office.set(cap=1000)
    assert office.spend(budget, 900)
    assert office.hold(budget, 100)
    assert not office.hold(budget, 1)
    assert office.state() == (900, 100)


def test_a_hard_budget_of_zero_blocks_everything(office: Office):
    assert not office.spend(office.set(cap=0), 1)


def test_a_soft_budget_counts_and_blocks_nothing(office: Office):
    budget = office.set(cap=10, hard=False)
    assert office.spend(budget, 500)
    assert office.state() == (500, 0)


def test_every_window_begins_at_nothing(office: Office):
    budget = office.set(cap=1000, period=Period.DAY)
    assert office.spend(budget, 1000)
    assert office.state(now=TOMORROW) == (0, 0)
    assert office.spend(budget, 1000, now=TOMORROW)


def test_a_budget_for_ever_never_begins_again(office: Office):
    budget = office.set(cap=1000, period=Period.FOREVER)
    assert office.spend(budget, 1000)
    assert not office.spend(budget, 1, now=TOMORROW)


def test_setting_a_budget_again_changes_the_cap_of_the_present_window(office: Office):
    budget = office.set(cap=1000)
    assert office.spend(budget, 600)
    raised = office.set(cap=2000, now=NOW + 5)
    assert (raised.id, raised.created_at, raised.cap_micro) == (budget.id, NOW, 2000)
    assert office.spend(raised, 1400)
    lowered = office.set(cap=500)
    assert not office.spend(lowered, 1)
    assert office.state() == (2000, 0)


def test_a_changed_cap_holds_against_those_who_still_know_the_old_one(office: Office):
    old = office.set(cap=1000)
    office.set(cap=10)
    assert not office.spend(old, 11)
    assert office.spend(old, 10)


def test_a_cap_changed_just_before_midnight_holds_after_it(office: Office):
    before, after = parse_iso("2026-11-21T23:59:59.5Z"), parse_iso("2026-11-22T00:00:00.5Z")
    old = office.set(cap=1000)
    office.set(cap=10, now=before)
    assert not office.spend(old, 11, now=after)


def test_a_budget_can_become_soft_and_hard_again(office: Office):
    budget = office.set(cap=100)
    assert not office.spend(budget, 101)
    assert office.spend(office.set(cap=100, hard=False), 101)
    assert not office.spend(office.set(cap=100, hard=True), 1)


def test_a_deleted_budget_limits_nothing_even_for_those_who_still_know_it(office: Office):
    budget = office.set(cap=100)
    assert office.spend(budget, 100)
    office.delete(budget)
    assert office.database.read_now(service.list_budgets, "org_1", now=NOW) == []
    assert office.spend(budget, 100)
    assert office.set().id != budget.id


def test_a_budget_of_another_organization_cannot_be_deleted(office: Office):
    budget = office.set()
    with pytest.raises(UnknownBudget, match=budget.id):
        office.delete(budget, org="org_2")
    with pytest.raises(UnknownBudget):
        office.delete(Budget("bud_9", "org_1", BudgetScope.KEY, "key_1", 1, Period.DAY, hard=True, created_at=0.0))
    assert not office.spend(budget, 1001)


def test_there_is_one_budget_for_each_scope_and_period(office: Office):
    ids = {
        office.set(period=Period.DAY).id,
        office.set(period=Period.MONTH).id,
        office.set(scope_id="key_2").id,
        office.set(scope=BudgetScope.PROJECT, scope_id="proj_1").id,
        office.set(scope=BudgetScope.ORGANIZATION, scope_id="org_1").id,
    }
    assert len(ids) == 5
    assert office.set(period=Period.DAY, cap=5, hard=False).id in ids
    assert len(office.database.read_now(service.list_budgets, "org_1", now=NOW)) == 5


def test_a_request_counts_in_the_budgets_of_its_key_project_and_organization(office: Office):
    key = office.set()
    project = office.set(scope=BudgetScope.PROJECT, scope_id="proj_1")
    whole = office.set(scope=BudgetScope.ORGANIZATION, scope_id="org_1", period=Period.FOREVER)
    office.set(scope_id="key_2")
    office.set(scope=BudgetScope.PROJECT, scope_id="proj_2")
    office.set(org="org_2")

    def over(*of: str | None) -> list[str]:
        return [budget.id for budget in office.database.read_now(service.budgets_of, *of)]

    assert over("org_1", "proj_1", "key_1") == [key.id, project.id, whole.id]
    assert over("org_1", None, "key_1") == [key.id, whole.id]
    assert over("org_3", "proj_1", "key_1") == []


@pytest.mark.parametrize("cap", [-1, MAX_MICRO])
def test_a_cap_out_of_range_is_refused(office: Office, cap: int):
    with pytest.raises(BadBudget, match="out of range"):
        office.set(cap=cap)


def test_an_organization_sets_no_budget_over_another(office: Office):
    with pytest.raises(BadBudget):
        office.set(scope=BudgetScope.ORGANIZATION, scope_id="org_2")


def test_every_change_tells_the_caches(office: Office):
    budget = office.set()
    office.set(cap=5)
    office.delete(budget)
    assert office.database.read_now(revisions.read)["billing"] == 3


def test_the_ledger_stays_whole_through_changes_of_budgets(office: Office):
    budget = office.set(cap=100)
    office.spend(budget, 60)
    office.set(cap=50)
    office.set(cap=50, hard=False)
    office.delete(budget)
    assert office.database.read_now(ledger.verify).ok
