"""Loading: journal entries become charges and usage records, each exactly once."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from surplus.billing import service as billing
from surplus.billing.budgets import Budget, crossed
from surplus.gateway import store
from surplus.gateway.entries import Settled
from surplus.gateway.ports import Load, Loaded
from surplus.kit import outbox
from surplus.kit.db import WriteSession
from surplus.kit.errors import SurplusError, Unavailable
from surplus.ledger import service as ledger
from surplus.ledger.commands import ChargeSlice, Cost, PostHold
from surplus.ledger.model import Charged, Drawn, Outcome, Posted
from surplus.metering import service as metering
from surplus.metering.model import UsageRecord

log: Final = logging.getLogger(__name__)

REVENUE: Final = "revenue:tokens"
BUDGET_THRESHOLD: Final = "budget.threshold"


class JournalMoved(Unavailable):
    """The database has another part of a journal than its gateway thinks; nothing of it is loaded."""

    code = "journal_moved"
    retryable = False

    def __init__(self, gateway: str, stored: int, expected: int) -> None:
        super().__init__(
            f"the journal of {gateway} is in the database up to {stored}, not {expected}: a second server loads it, or"
            " the database or the journal was restored alone; stop the server and run `surplus doctor`"
        )


def load(session: WriteSession, load: Load, *, now: float) -> Loaded:
    """Charge every settled request, record its usage, and move the journal's position: all or nothing.

    What is loaded again changes nothing: the position says so. Raises JournalMoved if the position is another one.
    """
    session.exclusive(metering.LOCK)
    session.exclusive(ledger.LOCK)  # an earlier try may not have ended yet, and others spend from the same budgets
    present = store.progress(session, load.gateway)
    if present.position != load.since:
        if present.position == load.position:
            return Loaded(first=False)
        raise JournalMoved(load.gateway, present.position, load.since)
    watched = _budgets(session, load.settled)
    before = ledger.spent(session, watched) if watched else {}
    charges = [*_posts(load), *_charges(load)]
    outcomes = ledger.apply(session, [*charges, *load.draws], now=now)
    metering.record(session, _records(load, charges, outcomes))
    after = ledger.spent(session, watched) if watched else {}
    for account, spent in before.items():
        _alert(session, watched[account], spent, after[account], now)
    if load.granted:
        ledger.grant(session, load.granted)
    store.set_progress(session, load.gateway, store.Progress(load.position, load.open_from))
    charged = {one.slice: sum(one.charged_micro) for one in outcomes if isinstance(one, Charged)}
    return Loaded(charged, {one.slice: one.drawn_micro for one in outcomes if isinstance(one, Drawn)})


def _posts(load: Load) -> Iterator[PostHold]:
    """For requests whose money the ledger itself holds."""
    for entry in load.settled:
        admitted = entry.admitted
        if not admitted.slice:
            yield PostHold(admitted.request, int(entry.grains), REVENUE, admitted.request, entry.ended_at)


def _charges(load: Load) -> Iterator[ChargeSlice]:
    """For requests that a slice granted money to: one charge for each slice, in the order of the journal."""
    for name, entries in _by_slice(load).items():
        costs = tuple(Cost(int(entry.grains), entry.admitted.held_micro) for entry in entries)
        ref = f"{load.gateway}/{load.position}/{name}"
        wallet = f"wallet:{entries[0].admitted.org}"
        yield ChargeSlice(name, wallet, costs, REVENUE, ref, entries[-1].ended_at)


def _by_slice(load: Load) -> dict[str, list[Settled]]:
    found: defaultdict[str, list[Settled]] = defaultdict(list)
    for entry in load.settled:
        if entry.admitted.slice:
            found[entry.admitted.slice].append(entry)
    return found


def _records(
    load: Load, charges: Sequence[PostHold | ChargeSlice], outcomes: Sequence[Outcome | SurplusError]
) -> list[UsageRecord]:
    """The usage of every settled request, in the order of the journal, with what the ledger charged for it."""
    paid: dict[str, tuple[int, int]] = {}
    by_slice = _by_slice(load)
    for command, outcome in zip(charges, outcomes, strict=False):  # the outcomes of draws come after them
        if isinstance(command, ChargeSlice) and isinstance(outcome, Charged):
            names = (entry.admitted.request for entry in by_slice[command.slice])
            paid.update(zip(names, zip(outcome.charged_micro, outcome.overrun_micro, strict=True), strict=True))
        elif isinstance(command, PostHold) and isinstance(outcome, Posted):
            paid[command.hold] = outcome.charged_micro, outcome.overrun_micro
        else:
            why = outcome.message if isinstance(outcome, SurplusError) else str(outcome)
            fields = {"command": command.key, "why": why}
            log.error("requests could not be charged; their records keep what they used", extra={"fields": fields})
    nothing = (0, 0)
    records: list[UsageRecord] = []
    for entry in load.settled:
        charged, overrun = paid.get(entry.admitted.request, nothing)
        records.append(entry.record(charged_micro=charged, overrun_micro=overrun))
    return records


def _budgets(session: WriteSession, settled: Iterable[Settled]) -> dict[str, Budget]:
    """Every budget that these requests may have spent from, by the account of its window at their admission."""
    entries = [entry.admitted for entry in settled]
    owners = {(entry.org, entry.project, entry.key) for entry in entries}
    budgets = {owner: billing.budgets_of(session, *owner) for owner in owners}
    return {
        budget.account(entry.at): budget for entry in entries for budget in budgets[entry.org, entry.project, entry.key]
    }


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
