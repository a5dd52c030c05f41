"""Loading: journal entries become charges and usage records, each exactly once."""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from surplus.billing import service as billing
from surplus.billing.budgets import Budget, crossed
from surplus.gateway import store
from surplus.gateway.entries import Settled
from surplus.kit import outbox
from surplus.kit.db import WriteSession
from surplus.kit.errors import SurplusError
from surplus.ledger import service as ledger
from surplus.ledger.commands import PostHold, VoidHold
from surplus.ledger.model import Posted
from surplus.metering import service as metering
from surplus.metering.model import UsageRecord

log: Final = logging.getLogger(__name__)

REVENUE: Final = "revenue:tokens"
BUDGET_THRESHOLD: Final = "budget.threshold"


def load(
    session: WriteSession, gateway: str, settled: Sequence[Settled], progress: store.Progress, *, now: float
) -> None:
    """Post the charge of every settled request, record its usage, and move the journal's position: all or nothing.

    A settlement that is loaded again (its position was rolled back with the rest) changes nothing: holds are posted
    once and records are counted once, both by the request's id, and what moves no budget crosses no threshold.
    """
    session.exclusive(metering.LOCK)
    session.exclusive(ledger.LOCK)  # so that nobody else spends between the two looks at a budget
    watched = _budgets(session, settled)
    before = _spent(session, watched, now)
    commands = [
        PostHold(
            hold=entry.admitted.request,
            grains=int(entry.grains),
            revenue=REVENUE,
            ref=entry.admitted.request,
            event_at=entry.ended_at,
        )
        for entry in settled
    ]
    outcomes = ledger.apply(session, commands, now=now)
    records: list[UsageRecord] = []
    for entry, outcome in zip(settled, outcomes, strict=True):
        charge, overrun = _charged(entry, outcome)
        records.append(entry.record(charged_micro=charge, overrun_micro=overrun))
    metering.record(session, records)
    after = _spent(session, watched, now)
    for account, spent in before.items():
        _alert(session, watched[account], spent, after[account], now)
    store.set_progress(session, gateway, progress)


def _charged(entry: Settled, outcome: object) -> tuple[int, int]:
    if isinstance(outcome, Posted):
        return outcome.charged_micro, outcome.overrun_micro
    why = outcome.message if isinstance(outcome, SurplusError) else str(outcome)
    fields = {"request": entry.admitted.request, "why": why}
    log.error("a request could not be charged; its record keeps what it used", extra={"fields": fields})
    return 0, 0


def _budgets(session: WriteSession, settled: Iterable[Settled]) -> dict[str, Budget]:
    """Every budget that these requests may have spent from, by the account of its window at their admission."""
    entries = [entry.admitted for entry in settled]
    owners = {(entry.org, entry.project, entry.key) for entry in entries}
    budgets = {owner: billing.budgets_of(session, *owner) for owner in owners}
    return {
        budget.account(entry.at): budget for entry in entries for budget in budgets[entry.org, entry.project, entry.key]
    }


def _spent(session: WriteSession, accounts: Collection[str], now: float) -> dict[str, int]:
    """What was spent from those of the budgets that have been held against at all."""
    if not accounts:
        return {}
    return {name: balance.debits for name, balance in ledger.balances(session, accounts, now=now).items()}


def _alert(session: WriteSession, budget: Budget, before_micro: int, after_micro: int, now: float) -> None:
    """Tell whoever listens that a budget has reached 50, 80 or 100 percent."""
    for percent in crossed(before_micro, after_micro, budget.cap_micro):
        body = {
            "budget": budget.id,
            "org": budget.org,
            "scope": budget.scope,
            "percent": percent,
            "hard": budget.hard,
        }
        outbox.publish(session, BUDGET_THRESHOLD, body, now=now)


def void_orphans(session: WriteSession, requests: Iterable[str], *, now: float) -> int:
    """End the holds that no request stands for any more, after a crash; returns how many there were."""
    commands = [VoidHold(request, "its gateway ended before it was admitted") for request in requests]
    ledger.apply(session, commands, now=now)
    return len(commands)
