"""The answer to a command, and the answer to its repeats. Pure."""

from typing import NamedTuple

from surplus.kit.errors import IdempotencyConflict, SurplusError
from surplus.ledger.chain import difference
from surplus.ledger.errors import InsufficientFunds, UnknownAccount
from surplus.ledger.evolve import State
from surplus.ledger.model import (
    Charged,
    Entry,
    EntryKind,
    LimitSet,
    Opened,
    Outcome,
    Placed,
    Posted,
    Transferred,
    Voided,
)


class Decision(NamedTuple):
    """Entries to write, in order (none for a repeat and for most refusals), and what to answer."""

    entries: tuple[Entry, ...]
    outcome: Outcome | SurplusError


def repeated(state: State, claimed: Entry) -> Decision | None:
    """What a command gets whose entry would be `claimed`, if its key was used before: the first answer, no entry.

    Raises IdempotencyConflict if the key was used for something else.
    """
    earlier = state.entries.get(claimed.key)
    if earlier is None:
        return None
    field = difference(earlier, claimed)
    if field is not None:
        message = f"the key {claimed.key!r} was used before with another {field}; use a new key for a new command"
        raise IdempotencyConflict(message, param=field, detail={"key": claimed.key, "field": field})
    return Decision((), _first_answer(state, earlier))


def _first_answer(state: State, earlier: Entry) -> Outcome | SurplusError:
    match earlier.kind:
        case EntryKind.OPEN:
            return Opened(earlier.account, state.accounts[earlier.account].limit, first=False)
        case EntryKind.LIMIT:
            return LimitSet(earlier.account, earlier.limit_micro, first=False)
        case EntryKind.TRANSFER:
            return Transferred(earlier.key, earlier.seq, first=False)
        case EntryKind.REFUSED:
            return _first_refusal(earlier)
        case EntryKind.PLACE:
            return Placed(earlier.hold, state.holds[earlier.hold].state, first=False)
        case EntryKind.POST | EntryKind.LATE:
            return Posted(earlier.hold, earlier.amount_micro, earlier.overrun_micro, first=False)
        case EntryKind.VOID | EntryKind.EXPIRE:
            return Voided(earlier.hold, first=False)
        case EntryKind.CHARGE:
            return Charged(earlier.hold, (), (), first=False)
        case EntryKind.DRAW | EntryKind.RETURN | EntryKind.RECALL:
            raise AssertionError("keys of these entries are numbers of the log, which no command has")


def _first_refusal(earlier: Entry) -> SurplusError:
    account = earlier.scopes[0]
    if earlier.reason == UnknownAccount.code:
        return UnknownAccount(account)
    return InsufficientFunds(
        account,
        needed_micro=earlier.amount_micro,
        available_micro=earlier.available_micro,
        held_micro=earlier.held_micro,
    )
