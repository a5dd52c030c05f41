"""Opening accounts, setting limits, moving money between accounts: what each does to the ledger as it is. Pure."""

from surplus.ledger import slices
from surplus.ledger.accounts import check_room, expect, opening, openings, shortage
from surplus.ledger.commands import OpenAccount, SetLimit, Transfer
from surplus.ledger.decision import Decision, repeated
from surplus.ledger.errors import InsufficientFunds, UnknownAccount, WrongAccount
from surplus.ledger.evolve import State
from surplus.ledger.model import HOUSE, LIMITED, Entry, EntryKind, LimitSet, Opened, Scope, Transferred, currency_of


def open_account(state: State, command: OpenAccount, now: float) -> Decision:
    """Open the account, or find it open. Raises WrongAccount if it is there as another kind."""
    scope = Scope(command.account, command.kind, command.limit)
    entry = opening(state.seq + 1, command.key, scope, now)
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    account = expect(state, scope)
    if command.account in state.accounts:
        return Decision((), Opened(account.id, account.limit, first=False))
    return Decision((entry,), Opened(account.id, account.limit, first=True))


def set_limit(state: State, command: SetLimit, now: float) -> Decision:
    """Change the limit, even to below what is in use. Raises UnknownAccount, WrongAccount."""
    entry = Entry(
        seq=state.seq + 1,
        kind=EntryKind.LIMIT,
        key=command.key,
        account=command.account,
        limit_micro=command.limit,
        event_at=now,
        booked_at=now,
    )
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    if command.account not in state.accounts:
        raise UnknownAccount(command.account)
    if state.accounts[command.account].kind not in LIMITED:
        raise WrongAccount(f"{command.account} can have no limit; only wallets and budgets have one")
    # a lower limit binds what is idle in slices too
    recalls = slices.recalls([command.account], 0, entry.seq, now) if state.accounts[command.account].sliced else ()
    return Decision((entry, *recalls), LimitSet(command.account, command.limit, first=True))


def transfer(state: State, command: Transfer, now: float) -> Decision:
    """Move the money, or write down that it was refused. Raises WrongAccount between two currencies."""
    house = [Scope(name, HOUSE[name], None) for name in (command.debit, command.credit) if name in HOUSE]
    opened = openings(state, house, state.seq, now)
    entry = Entry(
        seq=state.seq + len(opened) + 1,
        kind=EntryKind.TRANSFER,
        key=command.key,
        account=command.debit,
        counter=command.credit,
        currency=_currency(state, command.debit),
        amount_micro=command.amount_micro,
        code=command.code,
        ref=command.ref,
        event_at=float(command.event_at),
        booked_at=now,
    )
    repeat = repeated(state, entry)
    if repeat is not None:
        return repeat
    refusal = _refusal(state, command)
    if refusal is not None:
        return Decision((_refused(state, command, refusal, now),), refusal)
    if entry.currency != _currency(state, command.credit):
        raise WrongAccount(f"{command.debit} and {command.credit} have different currencies; nothing can move")
    check_room(state, entry)
    return Decision((*opened, entry), Transferred(entry.key, entry.seq, first=True))


def _currency(state: State, name: str) -> str:
    account = state.accounts.get(name)
    if account is not None:
        return account.currency
    return currency_of(HOUSE[name]) if name in HOUSE else ""


def _refusal(state: State, command: Transfer) -> UnknownAccount | InsufficientFunds | None:
    for name in (command.debit, command.credit):
        if name not in state.accounts and name not in HOUSE:
            return UnknownAccount(name)
    debit = state.accounts.get(command.debit)
    return None if debit is None else shortage(debit, command.amount_micro)


def _refused(state: State, command: Transfer, refusal: UnknownAccount | InsufficientFunds, now: float) -> Entry:
    short = refusal if isinstance(refusal, InsufficientFunds) else None
    return Entry(
        seq=state.seq + 1,
        kind=EntryKind.REFUSED,
        key=command.key,
        account=command.debit,
        counter=command.credit,
        scopes=(refusal.account,),
        amount_micro=command.amount_micro,
        available_micro=short.available_micro if short else 0,
        held_micro=short.held_micro if short else 0,
        code=command.code,
        reason=refusal.code,
        ref=command.ref,
        event_at=float(command.event_at),
        booked_at=now,
    )
