"""Budgets of an organization, of its projects by name or id, and of its keys."""

from dataclasses import dataclass

from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, BudgetState, Period
from surplus.billing.errors import BadBudget, UnknownBudget
from surplus.identity import service as identity
from surplus.identity.model import Organization
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.ids import Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpec:
    """A budget as it is asked for. `scope_id` is a project's name or id, a key's id, or None for the organization."""

    scope: BudgetScope
    scope_id: str | None = None
    cap_micro: int
    period: Period
    hard: bool = True


def put(session: WriteSession, ids: Ids, organization: Organization, spec: BudgetSpec, *, now: float) -> BudgetState:
    """Set the one budget of a scope and a period. Raises BadBudget, UnknownProject, UnknownKey."""
    budget = billing.set_budget(
        session,
        ids,
        org=organization.id,
        scope=spec.scope,
        scope_id=_resolved(session, organization, spec.scope, spec.scope_id),
        cap_micro=spec.cap_micro,
        period=spec.period,
        hard=spec.hard,
        now=now,
    )
    return _state(session, organization, budget.id, now)


def remove(session: WriteSession, ids: Ids, organization: Organization, *, budget_id: str, now: float) -> BudgetState:
    """Delete a budget; returns how it stood. Raises UnknownBudget."""
    state = _state(session, organization, budget_id, now)
    billing.delete_budget(session, ids, org=organization.id, budget_id=budget_id, now=now)
    return state


def _state(session: ReadSession, organization: Organization, budget_id: str, now: float) -> BudgetState:
    states = billing.list_budgets(session, organization.id, now=now)
    found = next((state for state in states if state.budget.id == budget_id), None)
    if found is None:
        raise UnknownBudget(f"there is no budget {budget_id[:100]!r}; list the budgets to see their ids")
    return found


def _resolved(session: ReadSession, organization: Organization, scope: BudgetScope, given: str | None) -> str:
    if scope is BudgetScope.ORGANIZATION:
        return organization.id if given in (None, organization.name) else given
    if given is None:
        raise BadBudget(f"whose budget? give the {scope} in scope_id", param="scope_id")
    if scope is BudgetScope.PROJECT:
        return identity.find_project(session, organization.id, given).id
    return identity.get_key(session, given, org=organization.id).id
