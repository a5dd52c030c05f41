"""Loading: journal entries become charges and usage records, each exactly once."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from surplus.billing import service as billing
from surplus.billing.budgets import crossed
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
    once and records are counted once, both by the request's id.
    """
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
    charged: dict[str, int] = {}
    records: list[UsageRecord] = []
    for entry, outcome in zip(settled, outcomes, strict=True):
        charge, overrun = _charged(entry, outcome)
        charged[entry.admitted.request] = charge
        records.append(entry.record(charged_micro=charge, overrun_micro=overrun))
    metering.record(session, records)
    _alert(session, settled, charged, now)
    store.set_progress(session, gateway, progress)


def _charged(entry: Settled, outcome: object) -> tuple[int, int]:
    if isinstance(outcome, Posted):
        return outcome.charged_micro, outcome.overrun_micro
    why = outcome.message if isinstance(outcome, SurplusError) else str(outcome)
    fields = {"request": entry.admitted.request, "why": why}
    log.error("a request could not be charged; its record keeps what it used", extra={"fields": fields})
    return 0, 0


def _alert(session: WriteSession, settled: Sequence[Settled], charged: dict[str, int], now: float) -> None:
    """Tell whoever listens that a budget has reached 50, 80 or 100 percent."""
    spent: defaultdict[tuple[str, str | None, str], int] = defaultdict(int)
    at: dict[tuple[str, str | None, str], float] = {}
    for entry in settled:
        if charged[entry.admitted.request]:
            scope = (entry.admitted.org, entry.admitted.project, entry.admitted.key)
            spent[scope] += charged[entry.admitted.request]
            at[scope] = entry.admitted.at
    for (org, project, key), amount in spent.items():
        for budget in billing.budgets_of(session, org=org, project=project, key=key):
            account = budget.account(at[org, project, key])
            balance = ledger.balances(session, [account], now=now).get(account)
            if balance is None:  # the budget was made after these requests were admitted
                continue
            for percent in crossed(balance.debits - amount, balance.debits, budget.cap_micro):
                body = {"budget": budget.id, "org": org, "scope": budget.scope, "percent": percent, "hard": budget.hard}
                outbox.publish(session, BUDGET_THRESHOLD, body, now=now)


def void_orphans(session: WriteSession, requests: Iterable[str], *, now: float) -> int:
    """End the holds that no request stands for any more, after a crash; returns how many there were."""
    commands = [VoidHold(request, "its gateway ended before it was admitted") for request in requests]
    ledger.apply(session, commands, now=now)
    return len(commands)
