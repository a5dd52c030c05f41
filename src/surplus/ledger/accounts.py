"""Rules on accounts that transfers and holds share: opening on first use, what is available, how large totals may be.

Pure.
"""

from collections.abc import Iterable

from surplus.kit.money import MAX_MICRO, format_dollars
from surplus.ledger.errors import BadCommand, InsufficientFunds, WrongAccount
from surplus.ledger.evolve import State, legs
from surplus.ledger.model import HOUSE, Account, Entry, EntryKind, Scope, currency_of, opened


def expect(state: State, scope: Scope) -> Account:
    """The account of a scope: as it is, or as it would be opened. Raises WrongAccount if it is of another kind."""
    account = state.accounts.get(scope.account)
    if account is None:
        return opened(scope.account, scope.kind, scope.limit)
    if account.kind != scope.kind:
        raise WrongAccount(f"{account.id} is a {account.kind} account, not a {scope.kind} account")
    return account


def house(name: str) -> Scope:
    """One of the operator's own accounts."""
    return Scope(name, HOUSE[name], None)


def opening(seq: int, key: str, scope: Scope, now: float) -> Entry:
    """The entry that opens an account."""
    return Entry(
        seq=seq,
        kind=EntryKind.OPEN,
        key=key,
        account=scope.account,
        account_kind=scope.kind.value,
        currency=currency_of(scope.kind),
        limit_micro=scope.limit,
        event_at=now,
        booked_at=now,
    )


def openings(state: State, scopes: Iterable[Scope], after_seq: int, now: float) -> tuple[Entry, ...]:
    """The entries, from `after_seq` + 1 on, that open those of `scopes` that do not exist."""
    missing = [scope for scope in scopes if scope.account not in state.accounts]
    return tuple(
        opening(seq, f"open:{scope.account}", scope, now) for seq, scope in enumerate(missing, start=after_seq + 1)
    )


def shortage(account: Account, amount: int) -> InsufficientFunds | None:
    """Why `amount` more cannot be held in or debited to `account`; None if it can."""
    if account.limit is None or account.covers(amount):
        return None
    return InsufficientFunds(
        account.id, needed_micro=amount, available_micro=account.net + account.limit, held_micro=account.held
    )


def check_room(state: State, entry: Entry) -> None:
    """Raise BadCommand if the money of `entry` would take a total of some account past 2^62."""
    for account, _, delta in legs(entry):
        present = state.accounts.get(account)
        if present is not None:
            check_total(account, (present.credits if delta > 0 else present.debits) + abs(delta))


def check_total(account: str, total: int) -> None:
    """Raise BadCommand if a total of `account` would not be below 2^62."""
    if total >= MAX_MICRO:
        raise BadCommand(f"{account} would pass {format_dollars(MAX_MICRO)} USD in all, more than the ledger can count")
