"""What a command does to the ledger as it is: the entries to write and the answer, or a refusal. Pure."""

from surplus.kit.errors import SurplusError
from surplus.ledger import holds, transfers
from surplus.ledger.checks import check
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, PostHold, SetLimit, Transfer, VoidHold
from surplus.ledger.decision import Decision
from surplus.ledger.evolve import State


def decide(state: State, command: Command, now: float) -> Decision:
    """What `command` does at `now`. Leaves `state` as it is: whoever accepts the entries lets them evolve it."""
    try:
        check(command)
        match command:
            case PlaceHold():
                return holds.place(state, command, now)
            case PostHold():
                return holds.post(state, command, now)
            case VoidHold():
                return holds.void(state, command, now)
            case Transfer():
                return transfers.transfer(state, command, now)
            case OpenAccount():
                return transfers.open_account(state, command, now)
            case SetLimit():
                return transfers.set_limit(state, command, now)
    except SurplusError as refusal:
        return Decision((), refusal)
