"""Placing, posting, voiding and expiring holds: what each does to the ledger as it is. Pure."""

from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.ledger import slices
from surplus.ledger.accounts import check_room, check_total, expect, house, openings, shortage
from surplus.ledger.commands import PlaceHold, PostHold, VoidHold
from surplus.ledger.decision import Decision, repeated
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownHold
from surplus.ledger.evolve import State
from surplus.ledger.model import (
    BUDGETED,
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
    """Hold the amount in every scope, or draw the slice that it wishes for, or ask slices to give back what is idle.

    Raises InsufficientFunds (wallet first, then budgets by name), WrongAccount.
    """
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
    if command.wish is not None:
        wish, hold = command.wish, command.amount_micro
        amount = slices.drawable(state, scopes, hold=hold, want=max(wish.want_micro, hold), now=now)
        drawn = slices.drawn(state, wish.slice, wish.holder, scopes, amount, now)
        if drawn.entries:
            return drawn
    short = [found for scope in scopes if (found := shortage(expect(state, scope), command.amount_micro)) is not None]
    if short:
        return _short(state, command, short, now)
    for scope in scopes:
        check_total(scope.account, expect(state, scope).held + command.amount_micro)
    return Decision((*opened, entry), Placed(command.hold, HoldState.PLACED, first=True))


def _short(state: State, command: PlaceHold, short: list[InsufficientFunds], now: float) -> Decision:
    """Refuse, unless slices may have what is missing: then they are asked first."""
    helps = all(one.needed_micro <= one.available_micro + _sliced(state, one.account) for one in short)
    if helps and not command.final:
        recall = slices.recall(state, [one.account for one in short], command.amount_micro, now)
        if recall is not None:
            return recall
    raise short[0]


def _sliced(state: State, name: str) -> int:
    account = state.accounts.get(name)
    return 0 if account is None else account.sliced


def post(state: State, command: PostHold, now: float) -> Decision:
    """Charge the wallet at most what was held; the rest, and all of it after the deadline, is the operator's overrun.

    A hold that was voided is not charged: the answer is Voided. Raises UnknownHold, WrongAccount.
    """
    hold = _find(state, command.hold)
    expired = (expiry(state, hold, now),) if _is_due(hold, now) else ()
    revenue = Scope(command.revenue, AccountKind.REVENUE, None)
    houses = [revenue, house(OVERRUN), house(BUDGETED)]
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
