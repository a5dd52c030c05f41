"""The use-cases of the ledger: apply a batch, read, verify, rebuild."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Final

from surplus.kit import outbox
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.errors import SurplusError
from surplus.ledger import store
from surplus.ledger.audit import flaw
from surplus.ledger.chain import Batch
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, PostHold, SetLimit, Transfer, VoidHold
from surplus.ledger.decide import decide
from surplus.ledger.errors import LedgerBroken, UnknownAccount, UnknownHold
from surplus.ledger.evolve import State, concerned, evolve
from surplus.ledger.holds import expiry
from surplus.ledger.model import (
    BUDGETED,
    OVERRUN,
    Account,
    AccountKind,
    Balance,
    Entry,
    EntryKind,
    Hold,
    Outcome,
    Verification,
)
from surplus.ledger.verification import Verifier

EXPIRED_PER_BATCH: Final = 1000
"""Holds that one batch expires at most; the rest count as held until their turn, which refuses too much at worst."""

OVERRUN_TOPIC: Final = "ledger.overrun"

_WALKED: Final = frozenset({AccountKind.BUDGET, AccountKind.BUDGETED, AccountKind.OVERRUN})


def apply(session: WriteSession, commands: Sequence[Command], *, now: float) -> list[Outcome | SurplusError]:
    """Do the commands in order, as one link of the hash chain; answers one outcome or refusal per command.

    First, holds whose deadline is not after `now` (epoch seconds) expire, the earliest first. A refusal leaves the
    commands beside it alone. Publishes `ledger.overrun` for every cost that the customer was not charged.
    """
    now = float(now)
    last = store.head(session)
    state, due = _load(session, commands, last.last_seq, now)
    written: list[Entry] = []
    for hold in due:
        written.append(expiry(state, hold, now))
        evolve(state, written[-1])
    outcomes: list[Outcome | SurplusError] = []
    for command in commands:
        entries, outcome = decide(state, command, now)
        for entry in entries:
            evolve(state, entry)
            state.entries[entry.key] = entry
        written += entries
        outcomes.append(outcome)
    if written:
        store.append(session, last.hash, written)
        store.save(session, state)
        for entry in written:
            if entry.overrun_micro:
                outbox.publish(session, OVERRUN_TOPIC, _overrun(state, entry), now=now)
    return outcomes


def _load(session: WriteSession, commands: Sequence[Command], seq: int, now: float) -> tuple[State, list[Hold]]:
    """Everything that the commands and the holds that are due can touch, and those holds."""
    entries = store.entries_by_key(session, [command.key for command in commands])
    wanted = [command.hold for command in commands if isinstance(command, PostHold | VoidHold)]
    wanted += [entry.hold for entry in entries.values() if entry.kind is EntryKind.PLACE]
    holds = store.holds(session, wanted)
    due = [holds.setdefault(hold.id, hold) for hold in store.due(session, now, limit=EXPIRED_PER_BATCH)]
    names = {name for hold in holds.values() for name in hold.scopes}
    names.update(chain.from_iterable(_accounts_of(command) for command in commands))
    return State(seq, store.accounts(session, names), holds, entries), due


def _accounts_of(command: Command) -> tuple[str, ...]:
    match command:
        case PlaceHold():
            return command.wallet.account, *(budget.account for budget in command.budgets)
        case PostHold():
            return command.revenue, OVERRUN, BUDGETED
        case Transfer():
            return command.debit, command.credit
        case OpenAccount() | SetLimit():
            return (command.account,)
        case VoidHold():
            return ()


def _overrun(state: State, entry: Entry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "hold": entry.hold,
        "wallet": entry.account,
        "ref": entry.ref,
        "held_micro": state.holds[entry.hold].amount,
        "charged_micro": entry.amount_micro,
        "overrun_micro": entry.overrun_micro,
        "late": entry.kind is EntryKind.LATE,
        "event_at": entry.event_at,
    }


def balance(session: ReadSession, account: str, *, now: float) -> Balance:
    """The account as of `now` (epoch seconds). Raises UnknownAccount."""
    found = balances(session, [account], now=now)
    if not found:
        raise UnknownAccount(account)
    return found[account]


def balances(session: ReadSession, accounts: Iterable[str], *, now: float) -> dict[str, Balance]:
    """Those of the accounts that exist, as of `now` (epoch seconds): a hold ends at its deadline, swept or not."""
    found = store.accounts(session, accounts)
    for hold in store.due(session, now):
        for scope in hold.scopes:
            if scope in found:
                found[scope].held -= hold.amount
    return {name: _balance(account) for name, account in found.items()}


def _balance(account: Account) -> Balance:
    return Balance(account.id, account.credits, account.debits, account.held, account.limit, account.carry)


def posted(session: ReadSession, account: str) -> int:
    """All that was ever credited to an account (micro-dollars); nothing for one that was never opened."""
    found = store.accounts(session, [account]).get(account)
    return 0 if found is None else found.credits


def entries(session: ReadSession, account: str, *, after_seq: int = 0, limit: int = 100) -> list[Entry]:
    """What happened to an account after the entry `after_seq`, at most `limit` entries. Raises UnknownAccount.

    For a budget and for the other side of overruns and budgets this walks the log: for questions, not for requests.
    """
    found = store.accounts(session, [account]).get(account)
    if found is None:
        raise UnknownAccount(account)
    if found.kind not in _WALKED:
        return store.entries_of(session, account, after_seq=after_seq, limit=limit)
    log = (entry for page in store.log_pages(session, after_seq) for entry, _ in page)
    return list(islice((entry for entry in log if account in concerned(entry)), limit))


def hold(session: ReadSession, hold_id: str) -> Hold:
    """A hold as the last batch left it. Raises UnknownHold."""
    found = store.holds(session, [hold_id]).get(hold_id)
    if found is None:
        raise UnknownHold(hold_id)
    return found


def any_due(session: ReadSession, *, now: float) -> bool:
    """Whether there are holds that the next batch will expire."""
    return bool(store.due(session, now, limit=1))


def active_holds(session: ReadSession, *, ref_prefix: str | None = None, limit: int = 1000) -> list[Hold]:
    """Holds that no batch has ended yet, earliest deadline first; only those whose ref begins with `ref_prefix`."""
    return store.active_holds(session, ref_prefix=ref_prefix, limit=limit)


def newest_at(session: ReadSession) -> float | None:
    """When (epoch seconds) the last entry was written; None in an empty ledger."""
    return store.newest_at(session)


def verify(session: ReadSession) -> Verification:
    """Check the whole log and the projections against it, holding in memory the accounts and the open holds only.

    All on one snapshot: for tools and tests. A server that sells meanwhile uses `Verifier`.
    """
    found, _ = Verifier(lambda function, *args: function(session, *args)).run()
    return found


def head(session: ReadSession) -> Batch:
    """The last link of the hash chain; before the first batch, one that ends at 0."""
    return store.head(session)


def rebuild(session: WriteSession) -> None:
    """Drop the projections and replay the log. Raises LedgerBroken, undoing all, if the log is unsound."""
    store.drop_projections(session)
    for page in store.log_pages(session):
        log = [entry for entry, _ in page]
        names = set(chain.from_iterable(concerned(entry) for entry in log))
        holds = store.holds(session, {entry.hold for entry in log})
        names.update(name for hold in holds.values() for name in hold.scopes)
        state = State(log[0].seq - 1, store.accounts(session, names), holds)
        for entry in log:
            problem = flaw(state, entry)
            if problem is not None:
                raise LedgerBroken(f"the log cannot be replayed: seq {entry.seq}: {problem}; restore a backup")
            evolve(state, entry)
        store.save(session, state)
