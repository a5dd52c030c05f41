"""How an entry changes the totals. Live batches and replays of the log run this same code. Pure but for its `State`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from surplus.kit.money import settle
from surplus.ledger.model import (
    BUDGETED,
    OVERRUN,
    Account,
    AccountKind,
    Entry,
    EntryKind,
    Hold,
    HoldState,
    Slice,
    opened,
)


@dataclass(slots=True)
class State:
    """The part of the ledger that a batch works on.

    `entries` are earlier ones under the keys that the batch uses. `seq` is that of the last entry of the log.
    """

    seq: int
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    holds: dict[str, Hold] = field(default_factory=dict[str, Hold])
    slices: dict[str, Slice] = field(default_factory=dict[str, Slice])
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    changed_accounts: set[str] = field(default_factory=set[str])
    changed_holds: set[str] = field(default_factory=set[str])
    changed_slices: set[str] = field(default_factory=set[str])
    opened_slices: set[str] = field(default_factory=set[str])


class Leg(NamedTuple):
    """What one entry adds to the balance of one account (micro-dollars, negative: a debit)."""

    account: str
    currency: str
    delta: int


def legs(entry: Entry) -> tuple[Leg, ...]:
    """The money that an entry moves; per currency the deltas sum to zero. Holds set money aside and move none."""
    match entry.kind:
        case EntryKind.TRANSFER:
            moved = entry.amount_micro
            return Leg(entry.account, entry.currency, -moved), Leg(entry.counter, entry.currency, moved)
        case EntryKind.POST | EntryKind.LATE | EntryKind.CHARGE:
            return _charge_legs(entry)
        case _:
            return ()


def _charge_legs(entry: Entry) -> tuple[Leg, ...]:
    charged, overrun = entry.amount_micro, entry.overrun_micro
    found = [Leg(entry.counter, entry.currency, charged + overrun)] if charged or overrun else []
    if overrun:
        found.append(Leg(OVERRUN, entry.currency, -overrun))
    if charged:
        memo = f"{entry.currency}/budget"
        budgets = entry.scopes[1:]
        found.append(Leg(entry.account, entry.currency, -charged))
        found += [Leg(budget, memo, -charged) for budget in budgets]
        if budgets:
            found.append(Leg(BUDGETED, memo, charged * len(budgets)))
    return tuple(found)


def concerned(entry: Entry) -> set[str]:
    """The accounts that an entry names or moves money of."""
    named = {entry.account, entry.counter, *entry.scopes} - {""}
    return named | {leg.account for leg in legs(entry)}


def evolve(state: State, entry: Entry) -> None:
    """Let `entry` happen. Every account and hold it names is in `state`, but for what it opens or places."""
    match entry.kind:
        case EntryKind.OPEN:
            state.accounts[entry.account] = opened(entry.account, AccountKind(entry.account_kind), entry.limit_micro)
            state.changed_accounts.add(entry.account)
        case EntryKind.LIMIT:
            _set_limit(state, entry)
        case EntryKind.TRANSFER:
            _move(state, entry)
            _rise(state, (entry.counter,))
        case EntryKind.REFUSED:
            pass
        case EntryKind.PLACE:
            _place(state, entry)
        case EntryKind.POST:
            hold = _end(state, entry, HoldState.POSTED, entry.booked_at)
            hold.posted, hold.overrun = entry.amount_micro, entry.overrun_micro
            _charge(state, entry)
            _rise(state, hold.scopes)
        case EntryKind.LATE:
            state.holds[entry.hold].overrun = entry.overrun_micro
            state.changed_holds.add(entry.hold)
            _charge(state, entry)
        case EntryKind.VOID:
            _rise(state, _end(state, entry, HoldState.VOIDED, entry.booked_at).scopes)
        case EntryKind.EXPIRE:
            _rise(state, _end(state, entry, HoldState.EXPIRED, entry.event_at).scopes)
        case _:
            _evolve_slice(state, entry)
    state.seq = entry.seq


def _evolve_slice(state: State, entry: Entry) -> None:
    match entry.kind:
        case EntryKind.DRAW:
            _draw(state, entry)
        case EntryKind.RETURN:
            state.slices[entry.hold].returned = True
            _rise(state, _take(state, entry))
        case EntryKind.CHARGE:
            scopes = _take(state, entry)
            _charge(state, entry)
            _rise(state, scopes)
        case EntryKind.RECALL:
            account = state.accounts[entry.account]
            account.recalled_seq, account.recalled_at = entry.seq, entry.booked_at
            account.scarce_micro = entry.amount_micro
            state.changed_accounts.add(account.id)
        case _:
            raise AssertionError(f"no rule lets {entry.kind} happen")


def _draw(state: State, entry: Entry) -> None:
    present = state.slices.get(entry.hold)
    if present is None:
        present = state.slices[entry.hold] = Slice(entry.hold, entry.ref, entry.scopes, 0, entry.seq)
        state.opened_slices.add(entry.hold)
    present.amount += entry.amount_micro
    present.drawn_seq, present.returned = entry.seq, False
    _slice(state, present, entry.amount_micro)


def _take(state: State, entry: Entry) -> tuple[str, ...]:
    """Take money out of a slice; answers its scopes. One that was forgotten has none, and nothing is taken."""
    present = state.slices.get(entry.hold)
    if present is None:
        return ()
    present.amount -= entry.amount_micro
    _slice(state, present, -entry.amount_micro)
    if present.amount == 0:
        del state.slices[entry.hold]
    return present.scopes


def _slice(state: State, present: Slice, delta: int) -> None:
    state.changed_slices.add(present.id)
    for scope in present.scopes:
        account = state.accounts[scope]
        account.held += delta
        account.sliced += delta
    state.changed_accounts.update(present.scopes)


def _set_limit(state: State, entry: Entry) -> None:
    account = state.accounts[entry.account]
    account.limit = entry.limit_micro
    account.floor = None if entry.limit_micro is None else min(-entry.limit_micro, account.net)
    state.changed_accounts.add(account.id)


def _place(state: State, entry: Entry) -> None:
    state.holds[entry.hold] = Hold(
        entry.hold, HoldState.PLACED, entry.amount_micro, entry.scopes, entry.deadline, entry.ref, entry.booked_at
    )
    state.changed_holds.add(entry.hold)
    for scope in entry.scopes:
        state.accounts[scope].held += entry.amount_micro
    state.changed_accounts.update(entry.scopes)


def _end(state: State, entry: Entry, how: HoldState, at: float) -> Hold:
    hold = state.holds[entry.hold]
    hold.state, hold.ended_at = how, at
    state.changed_holds.add(hold.id)
    for scope in hold.scopes:
        state.accounts[scope].held -= hold.amount
    state.changed_accounts.update(hold.scopes)
    return hold


def _charge(state: State, entry: Entry) -> None:
    wallet = state.accounts[entry.account]
    _, wallet.carry = settle(wallet.carry, entry.grains)
    state.changed_accounts.add(wallet.id)
    _move(state, entry)


def _move(state: State, entry: Entry) -> None:
    for leg in legs(entry):
        account = state.accounts[leg.account]
        if leg.delta > 0:
            account.credits += leg.delta
        else:
            account.debits -= leg.delta
        state.changed_accounts.add(account.id)


def _rise(state: State, names: Iterable[str]) -> None:
    """What is in use beyond a lowered limit can only shrink: the floor follows it up and never comes down.

    Only after the whole entry: a charge takes up again what the end of its hold has released.
    """
    for name in names:
        account = state.accounts[name]
        if account.floor is not None and account.limit is not None and account.floor < -account.limit:
            account.floor = min(-account.limit, max(account.floor, account.net))
