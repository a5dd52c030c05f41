"""Placing, posting, voiding and expiring holds: what each does to the ledger as it is. Pure."""

from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.ledger.accounts import check_room, check_total, expect, openings, shortage
from surplus.ledger.commands import PlaceHold, PostHold, VoidHold
from surplus.ledger.decision import Decision, repeated
from surplus.ledger.errors import BadCommand, UnknownHold
from surplus.ledger.evolve import State
from surplus.ledger.model import (
    BUDGETED,
    HOUSE,
    OVERRUN,
    AccountKind,
    Entry,
    EntryKind,
    Expired,
    Hold,
    HoldState,
    Outcome,
    Placed,
    Posted,
    Scope,
    Voided,
)


def place(state: State, command: PlaceHold, now: float) -> Decision:
    """Hold the amount in every scope. Raises InsufficientFunds (wallet first, then budgets by name), WrongAccount."""
    scopes = (command.wallet, *sorted(command.budgets, key=lambda scope: scope.account))
    opened = openings(state, scopes, state.seq, now)
    entry = Entry(
        seq=state.seq + len(opened) + 1,
        kind=EntryKind.PLACE,
        key=command.key,
        account=command.wallet.account,
        hold=command.hold,
        scopes=tuple(scope.account for scope in scopes),
        amount_micro=command.amount_micro,
        deadline=float(command.deadline),
        ref=command.ref,
        event_at=now,
        booked_at=now,
    )
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    if entry.deadline <= now:
        raise BadCommand(f"the deadline of hold {command.hold} is not in the future", param="deadline")
    for scope in scopes:
        account = expect(state, scope)
        short = shortage(account, command.amount_micro)
        if short is not None:
            raise short
        check_total(account.id, account.held + command.amount_micro)
    return Decision((*opened, entry), Placed(command.hold, HoldState.PLACED, first=True))


def post(state: State, command: PostHold, now: float) -> Decision:
    """Charge the wallet at most what was held; the rest, and all of it after the deadline, is the operator's overrun.

    A hold that was voided is not charged: the answer is Voided. Raises UnknownHold, WrongAccount.
    """
    hold = _find(state, command.hold)
    expired = (expiry(state, hold, now),) if _is_due(hold, now) else ()
    revenue = Scope(command.revenue, AccountKind.REVENUE, None)
    houses = [revenue, *(Scope(name, HOUSE[name], None) for name in (OVERRUN, BUDGETED))]
    opened = openings(state, houses, state.seq + len(expired), now)
    wallet = state.accounts[hold.wallet]
    actual, _ = settle(wallet.carry, command.grains)
    late = bool(expired) or hold.state is HoldState.EXPIRED
    charged = 0 if late else min(actual, hold.amount)
    cost_micro, rest_grains = divmod(command.grains, GRAINS_PER_MICRO)
    entry = Entry(
        seq=state.seq + len(expired) + len(opened) + 1,
        kind=EntryKind.LATE if late else EntryKind.POST,
        key=command.key,
        account=hold.wallet,
        counter=command.revenue,
        currency=wallet.currency,
        hold=hold.id,
        scopes=hold.scopes,
        amount_micro=charged,
        overrun_micro=actual - charged,
        cost_micro=cost_micro,
        rest_grains=rest_grains,
        ref=command.ref,
        event_at=float(command.event_at),
        booked_at=now,
    )
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    if hold.state is HoldState.VOIDED:
        return Decision((), _ended(hold))
    expect(state, revenue)
    check_room(state, entry)
    return Decision((*expired, *opened, entry), Posted(hold.id, charged, actual - charged, first=True))


def void(state: State, command: VoidHold, now: float) -> Decision:
    """Release the hold; one that has ended is left alone, and the answer says how it ended. Raises UnknownHold."""
    hold = _find(state, command.hold)
    entry = Entry(
        seq=state.seq + 1,
        kind=EntryKind.VOID,
        key=command.key,
        account=hold.wallet,
        hold=hold.id,
        reason=command.reason,
        event_at=now,
        booked_at=now,
    )
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    if hold.state is not HoldState.PLACED:
        return Decision((), _ended(hold))
    if _is_due(hold, now):
        return Decision((expiry(state, hold, now),), Expired(hold.id))
    return Decision((entry,), Voided(hold.id, first=True))


def expiry(state: State, hold: Hold, now: float) -> Entry:
    """The entry that ends a hold at its deadline, whenever that is noticed."""
    return Entry(
        seq=state.seq + 1,
        kind=EntryKind.EXPIRE,
        key=f"expire:{hold.id}",
        account=hold.wallet,
        hold=hold.id,
        event_at=hold.deadline,
        booked_at=now,
    )


def _find(state: State, hold: str) -> Hold:
    found = state.holds.get(hold)
    if found is None:
        raise UnknownHold(hold)
    return found


def _is_due(hold: Hold, now: float) -> bool:
    return hold.state is HoldState.PLACED and hold.deadline <= now


def _ended(hold: Hold) -> Outcome:
    match hold.state:
        case HoldState.POSTED:
            return Posted(hold.id, hold.posted, hold.overrun, first=False)
        case HoldState.VOIDED:
            return Voided(hold.id, first=False)
        case HoldState.EXPIRED | HoldState.PLACED:
            return Expired(hold.id)
