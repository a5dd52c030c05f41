"""Holds placed straight in the ledger: one transaction over all scopes, many requests to a commit."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from surplus.billing.budgets import Budget, Period
from surplus.gateway.errors import BudgetInFlight, BudgetSpent
from surplus.gateway.ports import HoldRequest
from surplus.kit.clock import Clock
from surplus.kit.db import Database, GroupCommit, WriteSession
from surplus.kit.errors import SurplusError
from surplus.kit.money import format_dollars
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, PlaceHold, VoidHold
from surplus.ledger.errors import InsufficientFunds
from surplus.ledger.model import AccountKind, Outcome, Scope

log: Final = logging.getLogger(__name__)

_SPANS: Final = {Period.DAY: "daily ", Period.MONTH: "monthly ", Period.FOREVER: ""}
IN_FLIGHT_RETRY_S: Final = 0.2


class DirectFunds:
    """The `Funds` of one process that writes to the ledger itself."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._clock = clock
        self._group: GroupCommit[Command, Outcome] = GroupCommit(database, self._apply)
        self._releases: set[asyncio.Task[None]] = set()

    def _apply(self, session: WriteSession, commands: Sequence[Command]) -> Sequence[Outcome | SurplusError]:
        return ledger.apply(session, commands, now=self._clock.now())

    async def hold(self, request: HoldRequest) -> None:
        """Hold the money in the wallet and in every budget, or nowhere."""
        command = PlaceHold(
            hold=request.request,
            wallet=Scope(f"wallet:{request.org}", AccountKind.WALLET, 0),
            budgets=tuple(_scope(budget, request.at) for budget in request.budgets),
            amount_micro=request.amount_micro,
            deadline=request.deadline,
            ref=request.request,
        )
        try:
            await self._group.submit(command)
        except asyncio.CancelledError:
            self.release(request.request)  # it may have been placed; nobody will use it
            raise
        except InsufficientFunds as error:
            raise _refusal(error, request) from error

    def release(self, request: str) -> None:
        """Void a hold that no journal entry stands for."""
        task = asyncio.get_running_loop().create_task(self._void(request))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _void(self, request: str) -> None:
        try:
            await self._group.submit(VoidHold(request, "never admitted"))
        except SurplusError as error:  # its deadline ends it
            log.warning("a hold was left to expire", extra={"fields": {"request": request, "why": error.message}})

    async def settle_releases(self) -> None:
        """Wait for the releases that are under way."""
        while self._releases:
            await asyncio.wait(self._releases)


def _scope(budget: Budget, at: float) -> Scope:
    return Scope(budget.account(at), AccountKind.BUDGET, budget.cap_micro if budget.hard else None)


def _refusal(error: InsufficientFunds, request: HoldRequest) -> SurplusError:
    """Why the money was refused, in the caller's words: which wallet or budget, how much, and what to do."""
    budget = next((b for b in request.budgets if b.account(request.at) == error.account), None)
    what = f"the {_SPANS[budget.period]}budget of this {budget.scope}" if budget else "the wallet of this organization"
    remedy = "raise the budget" if budget else "add credit"
    facts = (
        f"{what} has {format_dollars(error.available_micro)} USD available and {format_dollars(error.held_micro)} USD "
        f"held by requests in flight; this request may cost up to {format_dollars(error.needed_micro)} USD"
    )
    detail = {
        "scope": budget.scope if budget else "wallet",
        "budget": budget.id if budget else None,
        "available": format_dollars(error.available_micro),
        "held": format_dollars(error.held_micro),
        "needed": format_dollars(error.needed_micro),
    }
    if error.needed_micro <= error.available_micro + error.held_micro:
        message = f"{facts}. Money frees when they end: try again in a moment, or lower max_tokens"
        return BudgetInFlight(message, retry_after_s=IN_FLIGHT_RETRY_S, detail=detail)
    return BudgetSpent(f"{facts}. Lower max_tokens, or {remedy}", detail=detail)
