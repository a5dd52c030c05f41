"""Slices: money that a process draws in advance, to grant holds from without asking the ledger each time. Pure.

A slice is drawn only while what is left is many times the largest hold in every scope; below that, and for small
budgets always, each hold is placed by itself. When money runs short, what lies idle in slices is recalled before
anybody is refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.ledger.accounts import check_room, check_total, expect, house, openings
from surplus.ledger.commands import ChargeSlice, DrawSlice, ReturnSlice
from surplus.ledger.decision import Decision, repeated
from surplus.ledger.errors import WrongAccount
from surplus.ledger.evolve import State
from surplus.ledger.model import (
    BUDGETED,
    OVERRUN,
    Account,
    AccountKind,
    Charged,
    Drawn,
    Entry,
    EntryKind,
    Recalled,
    Returned,
    Scope,
)

SHARE: Final = 32
"""A draw takes at most this part (1/32) of what an account has left, so that many processes can draw from it."""
HOLDS_MIN: Final = 4
"""A draw smaller than this many holds is not worth it; so slices exist from 128 times the largest hold on."""
SCARCE_S: Final = 60.0
"""For how long after a recall an account remembers how large the hold was that found too little."""


def drawable(state: State, scopes: Iterable[Scope], *, hold: int, want: int, now: float) -> int:
    """How much of `want` micro-dollars a slice may take from all of `scopes`; 0 where it is too scarce for slices."""
    room = want
    for scope in scopes:
        account = expect(state, scope)
        if account.limit is None:
            continue
        largest = max(hold, account.scarce_micro) if now < account.recalled_at + SCARCE_S else hold
        share = (account.net + account.limit) // SHARE
        if share < HOLDS_MIN * largest:
            return 0
        room = min(room, share)
    return room if room >= hold else 0


def draw(state: State, command: DrawSlice, now: float) -> Decision:
    """Add to the slice what can be spared. Raises WrongAccount."""
    scopes = (command.wallet, *sorted(command.budgets, key=lambda scope: scope.account))
    amount = drawable(state, scopes, hold=command.hold_micro, want=command.want_micro, now=now)
    return drawn(state, command.slice, command.holder, scopes, amount, now)


def drawn(state: State, name: str, holder: str, scopes: Sequence[Scope], amount: int, now: float) -> Decision:
    """What adding `amount` to a slice does; it keeps the scopes and the holder that it was opened with."""
    present = state.slices.get(name)
    names = tuple(scope.account for scope in scopes)
    if amount == 0 or (present is not None and (present.scopes, present.holder) != (names, holder)):
        return Decision((), Drawn(name, 0))
    for scope in scopes:
        account = expect(state, scope)
        check_total(account.id, account.held + amount)
    opened = openings(state, scopes, state.seq, now)
    seq = state.seq + len(opened) + 1
    entry = Entry(
        seq=seq,
        kind=EntryKind.DRAW,
        key=f"draw:{seq}",
        account=scopes[0].account,
        hold=name,
        scopes=names,
        amount_micro=amount,
        ref=holder,
        event_at=now,
        booked_at=now,
    )
    return Decision((*opened, entry), Drawn(name, amount))


def give_back(state: State, command: ReturnSlice, now: float) -> Decision:
    """Return what is above `keep_micro`; also where that is nothing, so that a recall is seen to be answered."""
    present = state.slices.get(command.slice)
    if present is None:
        return Decision((), Returned(command.slice, 0))
    amount = max(0, present.amount - command.keep_micro)
    if amount == 0 and present.returned:
        return Decision((), Returned(command.slice, 0))
    seq = state.seq + 1
    entry = Entry(
        seq=seq,
        kind=EntryKind.RETURN,
        key=f"return:{seq}",
        account=present.wallet,
        hold=present.id,
        amount_micro=amount,
        event_at=now,
        booked_at=now,
    )
    return Decision((entry,), Returned(command.slice, amount))


def charge(state: State, command: ChargeSlice, now: float) -> Decision:
    """Charge each cost, at most what was granted and what the slice has; the rest is the operator's overrun.

    One entry for all of them: the records of usage say what each one was. Raises WrongAccount.
    """
    revenue = Scope(command.revenue, AccountKind.REVENUE, None)
    paying = Scope(command.wallet, AccountKind.WALLET, 0)
    wallet = expect(state, paying)
    opened = openings(state, (paying, revenue, house(OVERRUN), house(BUDGETED)), state.seq, now)
    present = state.slices.get(command.slice)
    charged, overrun = _charges(wallet, present.amount if present is not None else 0, command)
    cost_micro, rest_grains = divmod(command.grains, GRAINS_PER_MICRO)
    entry = Entry(
        seq=state.seq + len(opened) + 1,
        kind=EntryKind.CHARGE,
        key=command.key,
        account=wallet.id,
        counter=command.revenue,
        currency=wallet.currency,
        hold=command.slice,
        scopes=present.scopes if present is not None else (),
        amount_micro=sum(charged),
        overrun_micro=sum(overrun),
        cost_micro=cost_micro,
        rest_grains=rest_grains,
        ref=command.ref,
        event_at=float(command.event_at),
        booked_at=now,
        requests=len(command.costs),
    )
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    expect(state, revenue)
    if present is not None and present.wallet != wallet.id:
        raise WrongAccount(f"slice {present.id} is money of {present.wallet}, not of {wallet.id}")
    check_room(state, entry)
    return Decision((*opened, entry), Charged(command.slice, charged, overrun, first=True))


def _charges(wallet: Account, left: int, command: ChargeSlice) -> tuple[tuple[int, ...], tuple[int, ...]]:
    carry = wallet.carry
    charged: list[int] = []
    overrun: list[int] = []
    for cost in command.costs:
        actual, carry = settle(carry, cost.grains)
        paid = min(actual, cost.granted_micro, left)
        left -= paid
        charged.append(paid)
        overrun.append(actual - paid)
    return tuple(charged), tuple(overrun)


def recall(state: State, names: Sequence[str], needed: int, now: float) -> Decision | None:
    """Ask back what is idle in the slices of these accounts; None where no slice could give anything.

    Accounts that were asked since their last draw are not asked again: then there are no entries, only the wait.
    """
    waiting = [name for name in names if _unreturned(state, name)]
    if not waiting:
        return None
    asked = [name for name in waiting if any(state.accounts[name].recalled_seq < s for s in _unreturned(state, name))]
    return Decision(tuple(recalls(asked, needed, state.seq, now)), Recalled(tuple(waiting)))


def recalls(names: Iterable[str], needed: int, after_seq: int, now: float) -> Iterator[Entry]:
    """The entries that ask back what is idle in slices of these accounts."""
    for seq, name in enumerate(names, start=after_seq + 1):
        yield Entry(
            seq=seq,
            kind=EntryKind.RECALL,
            key=f"recall:{seq}",
            account=name,
            amount_micro=needed,
            event_at=now,
            booked_at=now,
        )


def _unreturned(state: State, name: str) -> list[int]:
    """When the slices of an account that may have idle money were last drawn, as numbers of entries."""
    return [one.drawn_seq for one in state.slices.values() if name in one.scopes and not one.returned]
