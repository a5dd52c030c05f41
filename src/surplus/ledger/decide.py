"""What a command does to the ledger as it is: the entries to write and the answer, or a refusal. Pure."""

from surplus.kit.errors import SurplusError
from surplus.ledger import holds, slices, transfers
from surplus.ledger.checks import check
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
from surplus.ledger.decision import Decision
from surplus.ledger.evolve import State


def decide(state: State, command: Command, now: float) -> Decision:
    """What `command` does at `now`. Leaves `state` as it is: whoever accepts the entries lets them evolve it."""
    try:
        check(command)
        match command:
            case PlaceHold() | PostHold() | VoidHold():
                return _holds(state, command, now)
            case DrawSlice() | ReturnSlice() | ChargeSlice():
                return _slices(state, command, now)
            case Transfer():
                return transfers.transfer(state, command, now)
            case OpenAccount():
                return transfers.open_account(state, command, now)
            case SetLimit():
                return transfers.set_limit(state, command, now)
    except SurplusError as refusal:
        return Decision((), refusal)


def _holds(state: State, command: PlaceHold | PostHold | VoidHold, now: float) -> Decision:
    match command:
        case PlaceHold():
            return holds.place(state, command, now)
        case PostHold():
            return holds.post(state, command, now)
        case VoidHold():
            return holds.void(state, command, now)


def _slices(state: State, command: DrawSlice | ReturnSlice | ChargeSlice, now: float) -> Decision:
    match command:
        case DrawSlice():
            return slices.draw(state, command, now)
        case ReturnSlice():
            return slices.give_back(state, command, now)
        case ChargeSlice():
            return slices.charge(state, command, now)
