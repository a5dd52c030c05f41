"""Checks the log against itself and the projections against the log, entry by entry, in bounded memory. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from surplus.kit.money import GRAINS_PER_MICRO, settle
from surplus.ledger.chain import GENESIS, Batch, Link, digest
from surplus.ledger.checkpoint import Checkpoint, encode
from surplus.ledger.evolve import State, evolve, legs
from surplus.ledger.model import (
    Account,
    AccountKind,
    Entry,
    EntryKind,
    Hold,
    HoldState,
    Slice,
    Verification,
    currency_of,
)

PROBLEMS_MAX: Final = 100
"""Problems that are told; after so many more would not help."""

_KEYS: Final = {
    EntryKind.PLACE: "hold:",
    EntryKind.POST: "post:",
    EntryKind.LATE: "post:",
    EntryKind.VOID: "void:",
    EntryKind.EXPIRE: "expire:",
}
_NUMBERED: Final = {EntryKind.DRAW, EntryKind.RETURN, EntryKind.RECALL}
"""Their keys are their numbers."""


def flaw(state: State, entry: Entry) -> str | None:
    """Why `entry` cannot be what follows `state` in a sound log; None if it can."""
    return _gap(state, entry) or _contradiction(state, entry)


def _gap(state: State, entry: Entry) -> str | None:
    return None if entry.seq == state.seq + 1 else f"follows seq {state.seq}: entries are missing"


def _contradiction(state: State, entry: Entry) -> str | None:
    prefix = _KEYS.get(entry.kind)
    if prefix is not None and entry.key != prefix + entry.hold:
        return f"the key {entry.key!r} is not that of hold {entry.hold}"
    if entry.kind in _NUMBERED and entry.key != f"{entry.kind}:{entry.seq}":
        return f"the key {entry.key!r} is not that of entry {entry.seq}"
    return _unbalanced(state, entry) or _against_rules(state, entry)


def _unbalanced(state: State, entry: Entry) -> str | None:
    sums: defaultdict[str, int] = defaultdict(int)
    for account, currency, delta in legs(entry):
        if account not in state.accounts:
            return f"moves money of {account}, which is not open"
        if state.accounts[account].currency != currency:
            return f"moves {currency} of {account}, whose currency is {state.accounts[account].currency}"
        sums[currency] += delta
    off = [f"{total} {currency}" for currency, total in sums.items() if total]
    return f"does not sum to zero: {', '.join(off)}" if off else None


def _against_rules(state: State, entry: Entry) -> str | None:
    match entry.kind:
        case EntryKind.OPEN:
            return _bad_opening(state, entry)
        case EntryKind.LIMIT | EntryKind.RECALL:
            return None if entry.account in state.accounts else f"binds {entry.account}, which is not open"
        case EntryKind.TRANSFER:
            return _over_limit(state, (entry.account,), entry.amount_micro)
        case EntryKind.PLACE:
            if entry.hold in state.holds:
                return f"places hold {entry.hold} again"
            return _over_limit(state, entry.scopes, entry.amount_micro)
        case EntryKind.POST | EntryKind.LATE:
            return _bad_charge(state, entry)
        case EntryKind.VOID | EntryKind.EXPIRE:
            return _bad_release(state, entry)
        case _:
            return _against_slices(state, entry)


def _against_slices(state: State, entry: Entry) -> str | None:
    match entry.kind:
        case EntryKind.DRAW:
            return _bad_draw(state, entry)
        case EntryKind.RETURN:
            return _bad_return(state, entry)
        case EntryKind.CHARGE:
            return _bad_batch(state, entry)
        case _:
            return None


def _bad_opening(state: State, entry: Entry) -> str | None:
    if entry.account in state.accounts:
        return f"opens {entry.account} again"
    if entry.account_kind not in list(AccountKind):
        return f"opens {entry.account} as {entry.account_kind!r}, which is no kind of account"
    if entry.currency != currency_of(AccountKind(entry.account_kind)):
        return f"opens {entry.account} in {entry.currency!r}"
    return None


def _over_limit(state: State, names: Sequence[str], amount: int) -> str | None:
    for name in names:
        account = state.accounts.get(name)
        if account is None:
            return f"counts in {name}, which is not open"
        if not account.covers(amount):
            return f"takes {amount} micro-dollars of {name}, which has less"
    return None


def _not_in(state: State, hold: str, wanted: HoldState) -> str | None:
    found = state.holds.get(hold)
    if found is None:
        return f"hold {hold} was never placed, or has ended before"
    return None if found.state is wanted else f"hold {hold} is {found.state}, not {wanted}"


def _bad_release(state: State, entry: Entry) -> str | None:
    wrong = _not_in(state, entry.hold, HoldState.PLACED)
    if wrong is None and entry.kind is EntryKind.EXPIRE and entry.event_at != state.holds[entry.hold].deadline:
        return f"hold {entry.hold} expires at another instant than its deadline"
    return wrong


def _bad_charge(state: State, entry: Entry) -> str | None:
    if entry.cost_micro < 0 or not 0 <= entry.rest_grains < GRAINS_PER_MICRO:
        return "its cost is no amount"
    late = entry.kind is EntryKind.LATE
    wrong = _not_in(state, entry.hold, HoldState.EXPIRED if late else HoldState.PLACED)
    if wrong is not None:
        return wrong
    hold = state.holds[entry.hold]
    if entry.scopes != hold.scopes or entry.account != hold.wallet:
        return f"charges other accounts than hold {hold.id} counts in"
    actual, _ = settle(state.accounts[hold.wallet].carry, entry.grains)
    charged = 0 if late else min(actual, hold.amount)
    if (entry.amount_micro, entry.overrun_micro) != (charged, actual - charged):
        return f"charges {entry.amount_micro} + {entry.overrun_micro} where {charged} + {actual - charged} is due"
    return None


def _bad_draw(state: State, entry: Entry) -> str | None:
    present = state.slices.get(entry.hold)
    if present is not None and (present.scopes, present.holder) != (entry.scopes, entry.ref):
        return f"draws slice {entry.hold} from other accounts, or for another process, than before"
    if entry.amount_micro <= 0 or entry.account != entry.scopes[0]:
        return f"draws nothing into slice {entry.hold}, or for another wallet"
    return _over_limit(state, entry.scopes, entry.amount_micro)


def _bad_return(state: State, entry: Entry) -> str | None:
    present = state.slices.get(entry.hold)
    if present is None or present.amount < entry.amount_micro:
        return f"returns {entry.amount_micro} micro-dollars of slice {entry.hold}, which has less"
    return None


def _bad_batch(state: State, entry: Entry) -> str | None:
    if entry.cost_micro < 0 or not 0 <= entry.rest_grains < GRAINS_PER_MICRO:
        return "its cost is no amount"
    present = state.slices.get(entry.hold)
    if entry.scopes != (present.scopes if present is not None else ()):
        return f"charges other accounts than slice {entry.hold} counts in"
    if entry.amount_micro > (present.amount if present is not None else 0):
        return f"charges {entry.amount_micro} micro-dollars to slice {entry.hold}, which has less"
    if entry.account not in state.accounts or (present is not None and present.wallet != entry.account):
        return f"charges {entry.account}, which is not the wallet of slice {entry.hold}"
    actual, _ = settle(state.accounts[entry.account].carry, entry.grains)
    if entry.amount_micro + entry.overrun_micro != actual:
        return f"charges {entry.amount_micro} + {entry.overrun_micro} where {actual} is due"
    return None


class Audit:
    """Reads the log once, in order; keeps accounts, open and expired holds, and the problems found so far."""

    def __init__(self, start: Checkpoint | None = None) -> None:
        """From the beginning of the log, or behind what was checked before."""
        start = start or Checkpoint(GENESIS, 0, 0, 0, 0.0, State(0))
        self.state = start.state
        self._problems: list[str] = []
        self._log_ok = True
        self._entries = start.entries
        self._batches = start.batches
        self._placed = start.placed
        self._batch = Batch(0, start.state.seq, GENESIS, start.hash)
        self._link: Link | None = None

    def read(self, page: Iterable[tuple[Entry, str]], links: Iterator[Batch]) -> None:
        """The next entries, each with its stored digest; takes from `links` the batches that they are in."""
        for entry, stored in page:
            while entry.seq > self._batch.last_seq and self._next_batch(links):
                pass
            if self._link is None or entry.seq > self._batch.last_seq:
                self._tell(entry.seq, "is in no batch, so nothing protects it")
            else:
                self._link.add(entry)
            if stored != digest(entry):
                self._tell(entry.seq, "its digest is not that of its fields")
            self._replay(entry)

    def _replay(self, entry: Entry) -> None:
        gap = _gap(self.state, entry)
        if gap is not None:
            self._tell(entry.seq, gap)
        problem = _contradiction(self.state, entry)
        self._entries += 1
        self._placed += entry.kind is EntryKind.PLACE
        if problem is None:
            evolve(self.state, entry)
        else:
            self._tell(entry.seq, problem)
            self.state.seq = entry.seq

    def _next_batch(self, links: Iterator[Batch]) -> bool:
        self._close_batch()
        batch = next(links, None)
        if batch is None:
            return False
        if batch.first_seq != self._batch.last_seq + 1 or batch.last_seq < batch.first_seq:
            self._tell(batch.last_seq, f"its batch begins at {batch.first_seq}, not at {self._batch.last_seq + 1}")
        if batch.previous != self._batch.hash:
            self._tell(batch.last_seq, "its batch is not tied to the batch before it")
        self._batches += 1
        self._batch, self._link = batch, Link(self._batch.hash)
        return True

    def _close_batch(self) -> None:
        if self._link is not None and self._link.hash() != self._batch.hash:
            span = f"{self._batch.first_seq} to {self._batch.last_seq}"
            self._tell(self._batch.last_seq, f"the hash of its batch is not that of the entries {span}")
        self._link = None

    def finish(self, links: Iterator[Batch]) -> None:
        """The log has ended."""
        while self._next_batch(links):
            pass

    def checkpoint(self, full_at: float) -> bytes:
        """What a later audit can go on from, encoded; to be taken after `finish` and before anything is compared."""
        state = State(self.state.seq, self.state.accounts, self.state.holds, self.state.slices)
        return encode(Checkpoint(self._batch.hash, self._entries, self._batches, self._placed, full_at, state))

    def compare_held(self) -> None:
        """What every account holds, by the log, against the open holds and the slices that count in it."""
        held: defaultdict[str, int] = defaultdict(int)
        holds = [hold for hold in self.state.holds.values() if hold.state is HoldState.PLACED]
        for one in (*holds, *self.state.slices.values()):
            for scope in one.scopes:
                held[scope] += one.amount
        for account in self.state.accounts.values():
            if account.held != held[account.id]:
                self._tell(self.state.seq, f"{account.id} holds {account.held}, not {held[account.id]}")

    def ended(self) -> list[str]:
        """Holds that nothing can change any more; compare them, and they are forgotten."""
        final = (HoldState.POSTED, HoldState.VOIDED)
        return [hold.id for hold in self.state.holds.values() if hold.state in final]

    def compare_holds(self, names: Iterable[str], stored: Mapping[str, Hold]) -> None:
        """Holds of the projection against those of the log."""
        for name in names:
            expected = self.state.holds.pop(name)
            if stored.get(name) != expected:
                self._differ(f"by the log there is {expected}, stored is {stored.get(name)}")

    def compare_accounts(self, stored: Iterable[Account]) -> None:
        """Accounts of the projection against those of the log; then `compare_rest` finds those that are not stored."""
        for account in stored:
            expected = self.state.accounts.pop(account.id, None)
            if account != expected:
                self._differ(f"by the log there is {expected}, stored is {account}")

    def compare_rest(self) -> None:
        """Every account has been compared: what the log knows beyond them is missing."""
        for missing in self.state.accounts.values():
            self._differ(f"by the log there is {missing}, nothing is stored")

    def compare_slices(self, stored: Iterable[Slice], scopes: Iterable[tuple[str, str]]) -> None:
        """All slices of the projection, and where they count (account, slice), against those of the log."""
        counted = {(account, one.id) for one in self.state.slices.values() for account in one.scopes}
        for account, name in sorted(counted.symmetric_difference(scopes)):
            wrong = "is not stored" if (account, name) in counted else "is stored and not in the log"
            self._differ(f"that slice {name} counts in {account} {wrong}")
        for one in stored:
            expected = self.state.slices.pop(one.id, None)
            if one != expected:
                self._differ(f"by the log there is {expected}, stored is {one}")
        for missing in self.state.slices.values():
            self._differ(f"by the log there is {missing}, nothing is stored")

    def compare_counts(self, holds: int, keys_used_twice: Iterable[tuple[str, int]]) -> None:
        """How many holds are stored, and the keys that more than one entry has (each with the last such seq)."""
        if holds != self._placed:
            self._differ(f"the log places {self._placed} holds, stored are {holds}")
        for key, seq in keys_used_twice:
            self._tell(seq, f"the key {key!r} was used before")

    def note(self, problem: str) -> None:
        """A problem that is no entry's: one that stopped the reading, or one of what stands beside the ledger."""
        self._log_ok = False
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)

    def _tell(self, seq: int, problem: str) -> None:
        self.note(f"seq {seq}: {problem}")

    def _differ(self, problem: str) -> None:
        """A projection is not what the log says: a rebuild mends that."""
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(f"seq {self.state.seq}: {problem}")

    def verdict(self) -> Verification:
        """What was found."""
        problems = tuple(self._problems)
        head, seq = self._batch, max(self.state.seq, self._batch.last_seq)
        return Verification(not problems, self._entries, self._batches, seq, head.hash, problems, self._log_ok)
