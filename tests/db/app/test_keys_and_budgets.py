"""A key with its budget, and budgets by name."""

import pytest

from surplus.app import budgets, keys, prices
from surplus.app.budgets import BudgetSpec
from surplus.app.keys import KeySpec
from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, Period
from surplus.billing.errors import BadBudget, UnknownBudget
from surplus.billing.rating import TokenClass
from surplus.identity import service as identity
from surplus.identity.errors import RoleTooHigh, UnknownKey
from surplus.identity.model import Role
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from tests.db.app.people import NOW, People, people


@pytest.fixture
def who(database: Database) -> People:
    return people(database)


def test_a_key_without_its_budget_does_not_come_to_be(who: People):
    before = who.database.read_now(identity.list_keys, who.acme.id)
    spec = KeySpec(budget_micro=-1)
    with pytest.raises(BadBudget):
        who.database.write_now(keys.create, who.ids, who.operator, spec, now=NOW)
    assert who.database.read_now(identity.list_keys, who.acme.id) == before


def test_the_budget_of_a_key_binds_its_requests(who: People):
    spec = KeySpec(budget_micro=7, budget_period=Period.MONTH)
    key = who.database.write_now(keys.create, who.ids, who.operator, spec, now=NOW).key
    (budget,) = who.database.read_now(billing.budgets_of, who.acme.id, None, key.id)
    assert (budget.cap_micro, budget.period, budget.limit) == (7, Period.MONTH, 7)
    spec = KeySpec(budget_micro=0)
    broke = who.database.write_now(keys.create, who.ids, who.operator, spec, now=NOW).key
    assert [one.limit for one in who.database.read_now(billing.budgets_of, who.acme.id, None, broke.id)] == [0]


def test_even_the_operator_makes_no_operators_at_a_customers(who: People):
    with pytest.raises(RoleTooHigh):
        who.database.write_now(keys.create, who.ids, who.operator, KeySpec(role=Role.OPERATOR), now=NOW)


def test_budgets_belong_to_their_organization(who: People):
    key = who.database.write_now(keys.create, who.ids, who.operator, KeySpec(), now=NOW).key
    spec = BudgetSpec(scope=BudgetScope.KEY, scope_id=key.id, cap_micro=5, period=Period.DAY)
    with pytest.raises(UnknownKey):
        who.database.write_now(budgets.put, who.ids, who.rival, spec, now=NOW)
    state = who.database.write_now(budgets.put, who.ids, who.acme, spec, now=NOW)
    with pytest.raises(UnknownBudget):
        who.database.write_now(budgets.remove, who.ids, who.rival, budget_id=state.budget.id, now=NOW)
    assert who.database.write_now(budgets.remove, who.ids, who.acme, budget_id=state.budget.id, now=NOW) == state


def test_the_organizations_own_budget_needs_no_name(who: People):
    for given in (None, "acme", who.acme.id):
        spec = BudgetSpec(scope=BudgetScope.ORGANIZATION, scope_id=given, cap_micro=5, period=Period.DAY)
        state = who.database.write_now(budgets.put, who.ids, who.acme, spec, now=NOW)
        assert state.budget.scope_id == who.acme.id
    assert len(who.database.read_now(billing.list_budgets, who.acme.id, now=NOW)) == 1


def test_the_prices_in_force_change_at_their_instant(database: Database):
    ids = CountedIds()
    for sku, start, dollars in (("tiny", None, "1"), ("tiny", NOW + 60, "2"), ("coming", NOW + 60, "3")):
        given = {TokenClass.INPUT: dollars, TokenClass.OUTPUT: dollars}
        database.write_now(prices.publish, ids, sku, given, effective_from=start, now=NOW, force=False)

    def at(now: float) -> dict[str, str]:
        found = database.read_now(prices.in_force, now=now)
        return {sku: str(sheet.prices[TokenClass.INPUT]) for sku, sheet in found.items()}

    assert at(NOW) == at(NOW + 59.9) == {"tiny": "1.00"}
    assert at(NOW + 60) == {"tiny": "2.00", "coming": "3.00"}
