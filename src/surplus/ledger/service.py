"""The use-cases of the ledger: apply a batch, read, verify, rebuild."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from surplus.kit import outbox, revisions
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.errors import SurplusError
from surplus.kit.money import MAX_MICRO
from surplus.ledger import store
from surplus.ledger.audit import flaw
from surplus.ledger.chain import Batch
from surplus.ledger.commands import (
    ChargeSlice,
    Command,
    DrawSlice,
    OpenAccount,
    PlaceHold,
    PostHold,
    ReturnSlice,
    SetLimit,
    Transfer,
    VoidHold,
)
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
    Slice,
    Verification,
)
from surplus.ledger.verification import Verifier

LOCK: Final = "5 ledger"
"""Held by whoever appends to the log: one process at a time, because a batch follows from all before it."""

EXPIRED_PER_BATCH: Final = 1000
"""Holds that one batch expires at most; the rest count as held until their turn, which refuses too much at worst."""

OVERRUN_TOPIC: Final = "ledger.overrun"

RECALL_TOPIC: Final = "recall"
"""The revision topic: slices that have to give back what is idle."""

_WALKED: Final = frozenset({AccountKind.BUDGET, AccountKind.BUDGETED, AccountKind.OVERRUN})


def apply(session: WriteSession, commands: Sequence[Command], *, now: float) -> list[Outcome | SurplusError]:
    """Do the commands in order, as one link of the hash chain; answers one outcome or refusal per command.

    First, holds whose deadline is not after `now` (epoch seconds) expire, the earliest first. A refusal leaves the
    commands beside it alone. Publishes `ledger.overrun` for every cost that the customer was not charged.
    """
    now = float(now)
    session.exclusive(LOCK)
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
        if any(entry.kind is EntryKind.RECALL for entry in written):
            revisions.bump(session, RECALL_TOPIC)
        for entry in written:
            if entry.overrun_micro:
                outbox.publish(session, OVERRUN_TOPIC, _overrun(state, entry), now=now)
    return outcomes


def _load(session: WriteSession, commands: Sequence[Command], seq: int, now: float) -> tuple[State, list[Hold]]:
    """Everything that the commands and the holds that are due can touch, and those holds."""
    entries = store.entries_by_key(session, [key for command in commands if (key := _key(command)) is not None])
    wanted = [command.hold for command in commands if isinstance(command, PostHold | VoidHold)]
    wanted += [entry.hold for entry in entries.values() if entry.kind is EntryKind.PLACE]
    holds = store.holds(session, wanted)
    due = [holds.setdefault(hold.id, hold) for hold in store.due(session, now, limit=EXPIRED_PER_BATCH)]
    slices = _slices(session, commands)
    names = {name for hold in (*holds.values(), *slices.values()) for name in hold.scopes}
    names.update(chain.from_iterable(_accounts_of(command) for command in commands))
    accounts = store.accounts(session, names)
    scarce = _scarce(commands, accounts)
    if scarce:
        over = store.slices_over(session, scarce)
        slices |= over
        accounts |= store.accounts(session, {name for one in over.values() for name in one.scopes} - accounts.keys())
    return State(seq, accounts, holds, slices, entries), due


def _key(command: Command) -> str | None:
    """Under what an earlier entry of the command would be found. Drawing and returning bring a slice to a state."""
    return None if isinstance(command, DrawSlice | ReturnSlice) else command.key


def _slices(session: WriteSession, commands: Sequence[Command]) -> dict[str, Slice]:
    wanted = {command.slice for command in commands if isinstance(command, DrawSlice | ReturnSlice | ChargeSlice)}
    wanted.update(command.wish.slice for command in commands if isinstance(command, PlaceHold) and command.wish)
    return store.slices(session, wanted) if wanted else {}


def _scarce(commands: Sequence[Command], accounts: Mapping[str, Account]) -> set[str]:
    """The accounts whose slices may be asked to give back, should these commands hold as much as they can."""
    wanted: defaultdict[str, int] = defaultdict(int)
    for command in commands:
        if isinstance(command, PlaceHold):
            most = max(command.amount_micro, command.wish.want_micro if command.wish is not None else 0)
            for name in _accounts_of(command):
                wanted[name] += most
        elif isinstance(command, DrawSlice):
            for name in _accounts_of(command):
                wanted[name] += command.want_micro
        elif isinstance(command, Transfer):
            wanted[command.debit] += command.amount_micro
        elif isinstance(command, SetLimit):
            wanted[command.account] += MAX_MICRO  # it may leave nothing
    found = {name: accounts[name] for name in wanted if name in accounts}
    return {name for name, account in found.items() if account.sliced and not account.covers(wanted[name])}


def _accounts_of(command: Command) -> tuple[str, ...]:
    match command:
        case PlaceHold() | DrawSlice():
            return command.wallet.account, *(budget.account for budget in command.budgets)
        case ChargeSlice():
            return command.wallet, command.revenue, OVERRUN, BUDGETED
        case PostHold():
            return command.revenue, OVERRUN, BUDGETED
        case Transfer():
            return command.debit, command.credit
        case OpenAccount() | SetLimit():
            return (command.account,)
        case VoidHold() | ReturnSlice():
            return ()


def _overrun(state: State, entry: Entry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "hold": entry.hold,
        "wallet": entry.account,
        "ref": entry.ref,
        "held_micro": state.holds[entry.hold].amount if entry.hold in state.holds else None,
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
    for name, idle in store.idle(session, [name for name, account in found.items() if account.sliced]).items():
        found[name].held -= idle
    return {name: _balance(account) for name, account in found.items()}


def spent(session: ReadSession, accounts: Iterable[str]) -> dict[str, int]:
    """What those of the accounts that exist have paid since they were opened, in micro-dollars."""
    return {name: account.debits for name, account in store.accounts(session, accounts).items()}


def grant(session: WriteSession, granted: Mapping[str, int]) -> None:
    """What of each slice its holder has granted to requests (micro-dollars): the rest is shown as available.

    Says nothing of slices that have no money any more.
    """
    store.set_grants(session, granted)


def slices_of(session: ReadSession, holder: str) -> list[Slice]:
    """The slices of a process, by id."""
    return store.slices_held(session, holder)


def recalled(session: ReadSession, holder: str) -> list[str]:
    """Slices of a process that have to give back what is idle, because an account has become scarce."""
    return store.recalled(session, holder)


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
    session.exclusive(LOCK)
    store.drop_projections(session)
    for page in store.log_pages(session):
        log = [entry for entry, _ in page]
        names = set(chain.from_iterable(concerned(entry) for entry in log))
        holds = store.holds(session, {entry.hold for entry in log})
        slices = store.slices(session, {entry.hold for entry in log})
        names.update(name for hold in (*holds.values(), *slices.values()) for name in hold.scopes)
        state = State(log[0].seq - 1, store.accounts(session, names), holds, slices)
        for entry in log:
            problem = flaw(state, entry)
            if problem is not None:
                raise LedgerBroken(f"the log cannot be replayed: seq {entry.seq}: {problem}; restore a backup")
            evolve(state, entry)
        store.save(session, state)
