"""Use-cases of billing: publish prices, set budgets, draw up statements."""

from collections.abc import Mapping
from typing import Final

from surplus.billing import prices as rules
from surplus.billing import statements, store
from surplus.billing.budgets import Budget, BudgetScope, BudgetState, Period, window
from surplus.billing.errors import BadBudget, PriceExists, UnknownBudget, UnknownPriceVersion
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.billing.statements import Statement
from surplus.kit import revisions
from surplus.kit.clock import iso
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids
from surplus.kit.money import MAX_MICRO, format_dollars
from surplus.ledger import service as ledger
from surplus.ledger.commands import OpenAccount, SetLimit
from surplus.ledger.model import AccountKind, Balance
from surplus.metering import service as metering

TOPIC: Final = "billing"
"""The revision topic: prices and budgets."""

LOCK: Final = "3 billing"
"""Held by whoever changes a price or a budget."""

LAG_S: Final = 60.0
"""For how long after a change another process may still go by the old cap."""


def publish_prices(
    session: WriteSession,
    ids: Ids,
    sku: str,
    prices: Mapping[TokenClass, Price],
    *,
    effective_from: float,
    now: float,
    force: bool = False,
) -> PriceSheet:
    """Publish the prices of a sku from an instant on (epoch seconds, not before `now`), as one version for good.

    Prices are per million tokens; those of the caches default to the price of input. Raises BadPrice for prices that
    are incomplete, in the past, or (without `force`) implausibly high, and PriceExists if the sku has a price from the
    same instant.
    """
    session.exclusive(LOCK)
    complete = rules.complete(sku, prices, force=force)
    rules.check_start(effective_from, now)
    if store.has_price_from(session, sku, effective_from):
        message = f"{sku!r} has a price from {iso(effective_from)} already, and it stays; choose a later instant"
        raise PriceExists(message, param="effective_from")
    sheet = PriceSheet(sku, ids.new("price"), effective_from, complete)
    store.add_sheet(session, sheet, published_at=now)
    revisions.bump(session, TOPIC)
    return sheet


def price_sheets(session: ReadSession, *, now: float) -> list[PriceSheet]:
    """The sheets in force at `now` and all that come later, of every sku."""
    return store.sheets_from(session, now)


def history(session: ReadSession, sku: str) -> list[PriceSheet]:
    """Every sheet of a sku, oldest first."""
    return store.sheets_of(session, sku)


def price_sheet(session: ReadSession, sku: str, version: str) -> PriceSheet:
    """The sheet that was published as this version of the sku. Raises UnknownPriceVersion."""
    sheet = store.sheets_by_version(session, {version}).get(version)
    if sheet is None or sheet.sku != sku:
        message = f"the price book has no version {version!r} of {sku!r}; check the database with `surplus doctor`"
        raise UnknownPriceVersion(message, detail={"sku": sku, "version": version})
    return sheet


def set_budget(  # noqa: PLR0913  these are the facts of a budget
    session: WriteSession,
    ids: Ids,
    *,
    org: str,
    scope: BudgetScope,
    scope_id: str,
    cap_micro: int,
    period: Period,
    hard: bool,
    now: float,
) -> Budget:
    """Set the one budget of a scope and a period, from now on; what its window has spent already counts.

    Whether the project or key belongs to the organization is for the caller to know; a budget over what belongs to
    another organization has no effect. Raises BadBudget for a cap that is no amount.
    """
    session.exclusive(LOCK)
    if not 0 <= cap_micro < MAX_MICRO:
        raise BadBudget(f"a cap of {format_dollars(cap_micro)} USD is out of range; give 0 or more", param="cap")
    if scope is BudgetScope.ORGANIZATION and scope_id != org:
        raise BadBudget("the budget of an organization is set over that organization itself", param="scope_id")
    before = store.find_budget(session, org, scope, scope_id, period)
    budget = Budget(
        id=before.id if before else ids.new("bud"),
        org=org,
        scope=scope,
        scope_id=scope_id,
        cap_micro=cap_micro,
        period=period,
        hard=hard,
        created_at=before.created_at if before else now,
    )
    store.put_budget(session, budget)
    if before is not None and before.limit != budget.limit:
        _enforce(session, ids, budget, budget.limit, now)
    revisions.bump(session, TOPIC)
    return budget


def delete_budget(session: WriteSession, ids: Ids, *, org: str, budget_id: str, now: float) -> None:
    """Delete a budget; its accounts stay in the ledger and limit nothing. Raises UnknownBudget."""
    session.exclusive(LOCK)
    budget = store.get_budget(session, org, budget_id)
    if budget is None:
        raise UnknownBudget(f"there is no budget {budget_id!r}; list the budgets to see their ids")
    store.drop_budget(session, budget_id)
    if budget.limit is not None:
        _enforce(session, ids, budget, None, now)
    revisions.bump(session, TOPIC)


def _enforce(session: WriteSession, ids: Ids, budget: Budget, limit: int | None, now: float) -> None:
    """Have the ledger enforce `limit` in the present window, and in one about to begin.

    The account is opened if need be: a hold by a process that still knows the old cap would open it with that one.
    """
    accounts = dict.fromkeys((budget.account(now), budget.account(now + LAG_S)))
    opened = [OpenAccount(ids.new("cmd"), account, AccountKind.BUDGET, limit) for account in accounts]
    limited = [SetLimit(ids.new("cmd"), account, limit) for account in accounts]
    for outcome in ledger.apply(session, [*opened, *limited], now=now):
        if isinstance(outcome, SurplusError):
            raise outcome


def list_budgets(session: ReadSession, org: str, *, now: float) -> list[BudgetState]:
    """The budgets of an organization and what their present windows have spent and hold, oldest first."""
    budgets = store.budgets_of_org(session, org)
    balances = ledger.balances(session, [budget.account(now) for budget in budgets], now=now)
    return [_state(budget, balances.get(budget.account(now)), now) for budget in budgets]


def _state(budget: Budget, balance: Balance | None, now: float) -> BudgetState:
    name = window(budget.period, now)
    if balance is None:  # the first hold of the window opens its account
        return BudgetState(budget, name, spent_micro=0, held_micro=0)
    return BudgetState(budget, name, spent_micro=-balance.balance, held_micro=balance.held)


def budgets_of(session: ReadSession, org: str, project: str | None, key: str) -> list[Budget]:
    """The budgets that a request with this key counts in, in the order of their ids."""
    return store.budgets_over(session, org, project, key)


def statement(session: ReadSession, org: str, *, month: str | None = None) -> Statement:
    """What an organization used in a UTC month (`2026-11`; None: ever), priced line by line, and what it paid for it.

    A request belongs to the month of its admission. Raises BadMonth, and UnknownPriceVersion if the price book lacks a
    version that usage was recorded at.
    """
    start, end = statements.month_range(month) if month is not None else (None, None)
    consumed = metering.by_price(session, org=org, start=start, end=end)
    sheets = store.sheets_by_version(session, {part.price_version for part in consumed})
    return statements.draft(org, month, consumed, sheets)
