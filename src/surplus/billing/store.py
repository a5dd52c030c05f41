"""All SQL of billing. There is no statement that changes a price."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from sqlalchemy import and_, delete, func, or_, select

from surplus.billing.budgets import Budget, BudgetScope, Period
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.billing.tables import budgets, prices
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.db.session import AnyRow, AnySelect


def add_sheet(session: WriteSession, sheet: PriceSheet, *, published_at: float) -> None:
    """Write the prices of a sheet, one row each."""
    rows = [
        {
            "version": sheet.version,
            "token_class": name.value,
            "sku": sheet.sku,
            "effective_from": sheet.effective_from,
            "amount_pico": price.amount_pico,
            "per": price.per,
            "currency": sheet.currency,
            "published_at": published_at,
        }
        for name, price in sheet.prices.items()
    ]
    session.insert(prices, rows)


def has_price_from(session: ReadSession, sku: str, effective_from: float) -> bool:
    """True if a price of the sku begins at this very instant."""
    query = select(prices.c.version).where(prices.c.sku == sku, prices.c.effective_from == effective_from)
    return session.first(query) is not None


def sheets_of(session: ReadSession, sku: str) -> list[PriceSheet]:
    """Every sheet of a sku, oldest first."""
    return _sheets(session, select(prices).where(prices.c.sku == sku))


def sheets_by_version(session: ReadSession, versions: Iterable[str]) -> dict[str, PriceSheet]:
    """The sheets of these versions; a version that does not exist is left out."""
    return {sheet.version: sheet for sheet in _sheets(session, select(prices).where(prices.c.version.in_(versions)))}


def sheets_from(session: ReadSession, now: float) -> list[PriceSheet]:
    """The sheets in force at `now` and all that come later, of every sku."""
    earlier = prices.alias()
    in_force = select(func.max(earlier.c.effective_from)).where(
        earlier.c.sku == prices.c.sku, earlier.c.effective_from <= now
    )
    begins = func.coalesce(in_force.scalar_subquery(), now)
    return _sheets(session, select(prices).where(prices.c.effective_from >= begins))


def _sheets(session: ReadSession, query: AnySelect) -> list[PriceSheet]:
    rows = session.all(query.order_by(prices.c.sku, prices.c.effective_from, prices.c.version))
    return [_sheet(list(group)) for _, group in groupby(rows, key=lambda row: row.version)]


def _sheet(rows: Sequence[AnyRow]) -> PriceSheet:
    first = rows[0]
    each = {TokenClass(row.token_class): Price(row.amount_pico, row.per) for row in rows}
    return PriceSheet(first.sku, first.version, first.effective_from, each, first.currency)


def find_budget(session: ReadSession, org: str, scope: BudgetScope, scope_id: str, period: Period) -> Budget | None:
    """The one budget of a scope and a period."""
    query = select(budgets).where(
        budgets.c.org == org,
        budgets.c.scope == scope.value,
        budgets.c.scope_id == scope_id,
        budgets.c.period == period.value,
    )
    row = session.first(query)
    return None if row is None else _budget(row)


def get_budget(session: ReadSession, org: str, budget_id: str) -> Budget | None:
    """A budget of an organization by its id."""
    row = session.first(select(budgets).where(budgets.c.org == org, budgets.c.id == budget_id))
    return None if row is None else _budget(row)


def budgets_of_org(session: ReadSession, org: str) -> list[Budget]:
    """Every budget of an organization, in order of making."""
    query = select(budgets).where(budgets.c.org == org).order_by(budgets.c.created_at, budgets.c.id)
    return [_budget(row) for row in session.all(query)]


def budgets_over(session: ReadSession, org: str, project: str | None, key: str) -> list[Budget]:
    """The budgets that a request with this key counts in."""
    owners = {BudgetScope.ORGANIZATION: org, BudgetScope.PROJECT: project, BudgetScope.KEY: key}
    matches = [and_(budgets.c.scope == scope.value, budgets.c.scope_id == owner) for scope, owner in owners.items()]
    query = select(budgets).where(budgets.c.org == org, or_(*matches)).order_by(budgets.c.id)
    return [_budget(row) for row in session.all(query)]


def put_budget(session: WriteSession, budget: Budget) -> None:
    """Add a budget, or change the cap of the one with its id."""
    row = {
        "id": budget.id,
        "org": budget.org,
        "scope": budget.scope.value,
        "scope_id": budget.scope_id,
        "cap_micro": budget.cap_micro,
        "period": budget.period.value,
        "hard": budget.hard,
        "created_at": budget.created_at,
    }
    session.upsert(budgets, [row], replace=("cap_micro", "hard"))


def drop_budget(session: WriteSession, budget_id: str) -> None:
    """Delete a budget."""
    session.execute(delete(budgets).where(budgets.c.id == budget_id))


def _budget(row: AnyRow) -> Budget:
    return Budget(
        id=row.id,
        org=row.org,
        scope=BudgetScope(row.scope),
        scope_id=row.scope_id,
        cap_micro=row.cap_micro,
        period=Period(row.period),
        hard=row.hard,
        created_at=row.created_at,
    )
