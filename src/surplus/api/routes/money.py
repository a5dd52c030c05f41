"""Credit, balance and the entries behind it; budgets."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query

from surplus.api import outputs
from surplus.api.callers import BudgetManagerOf, MoneyReaderOf, OperatorOn
from surplus.api.deps import Deps
from surplus.api.errors import declared
from surplus.api.inputs import SEQ_MAX, PageSize, dollars
from surplus.app import budgets, money
from surplus.app.budgets import BudgetSpec
from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, Period
from surplus.wire.budgets import Budget, BudgetRequest
from surplus.wire.money import Balance, CreditLimitRequest, CreditRequest, Entry

router = APIRouter(prefix="/api/organizations/{org}", tags=["Money"])

IdempotencyKey = Annotated[
    str | None,
    Header(description="Up to 100 characters. The same key never books twice; with another body it is refused."),
]


@router.post("/credit", summary="Add credit", responses=declared(404, 409))
async def add_credit(
    body: CreditRequest, caller: OperatorOn, deps: Deps, idempotency_key: IdempotencyKey = None
) -> Balance:
    """Book a payment of the customer; answers with the balance after it. For the operator."""
    funds = await deps.change(
        money.add_credit,
        deps.ids,
        org=caller.organization.id,
        amount_micro=dollars(body.amount, "amount"),
        note=body.note,
        idempotency_key=idempotency_key,
        now=deps.clock.now(),
    )
    return outputs.balance(funds)


@router.put("/credit-limit", summary="Set the credit limit", responses=declared(404))
async def set_credit_limit(body: CreditLimitRequest, caller: OperatorOn, deps: Deps) -> Balance:
    """How far below zero the wallet may go. What is in use beyond a lowered limit stays. For the operator."""
    limit = dollars(body.credit_limit, "credit_limit")
    org = caller.organization.id
    funds = await deps.change(money.set_credit_limit, deps.ids, org=org, limit_micro=limit, now=deps.clock.now())
    return outputs.balance(funds)


@router.get("/balance", summary="Get the balance", responses=declared(404))
async def get_balance(caller: MoneyReaderOf, deps: Deps) -> Balance:
    """What is available, held and settled. For admins and finance."""
    return outputs.balance(await deps.read(money.funds, caller.organization.id, now=deps.clock.now()))


@router.get("/entries", summary="List ledger entries", responses=declared(404))
async def list_entries(
    caller: MoneyReaderOf,
    deps: Deps,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX, description="The `seq` of the last entry of the page before.")] = 0,
    limit: PageSize = 100,
) -> list[Entry]:
    """What happened to the wallet, oldest first. For admins and finance."""
    found = await deps.read(money.entries, caller.organization.id, after_seq=after, limit=limit)
    return [outputs.entry(one) for one in found]


@router.put("/budgets", summary="Set a budget", responses=declared(404))
async def set_budget(body: BudgetRequest, caller: BudgetManagerOf, deps: Deps) -> Budget:
    """Set the one budget of a scope and a period; what its window has spent already counts. For admins and finance."""
    spec = BudgetSpec(
        scope=BudgetScope(body.scope),
        scope_id=body.scope_id,
        cap_micro=dollars(body.cap, "cap"),
        period=Period(body.period),
        hard=body.hard,
    )
    return outputs.budget(await deps.change(budgets.put, deps.ids, caller.organization, spec, now=deps.clock.now()))


@router.get("/budgets", summary="List budgets", responses=declared(404))
async def list_budgets(caller: MoneyReaderOf, deps: Deps) -> list[Budget]:
    """The budgets, oldest first, with what their present windows have spent and hold. For admins and finance."""
    found = await deps.read(billing.list_budgets, caller.organization.id, now=deps.clock.now())
    return [outputs.budget(one) for one in found]


@router.delete("/budgets/{budget}", summary="Delete a budget", responses=declared(404))
async def delete_budget(
    budget: Annotated[str, Path(description="Its id, `bud_…`.")], caller: BudgetManagerOf, deps: Deps
) -> Budget:
    """Delete a budget; answers with how it stood. For admins and finance."""
    now = deps.clock.now()
    return outputs.budget(await deps.change(budgets.remove, deps.ids, caller.organization, budget_id=budget, now=now))
