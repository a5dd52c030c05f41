"""Errors of the ledger."""

from surplus.kit.errors import BadRequest, Conflict, Exhausted, NotFound, SurplusError
from surplus.kit.money import format_dollars


class InsufficientFunds(Exhausted):
    """An account has less available than is asked for. `account` names the wallet or budget; amounts are micro-dollars.

    What is `held` may come back: it waits for requests in flight.
    """

    def __init__(self, account: str, *, needed_micro: int, available_micro: int, held_micro: int) -> None:
        message = (
            f"{account} has {format_dollars(available_micro)} USD available ({format_dollars(held_micro)} USD is held) "
            f"and {format_dollars(needed_micro)} USD is needed; add credit or raise the limit"
        )
        detail = {
            "account": account,
            "needed": format_dollars(needed_micro),
            "available": format_dollars(available_micro),
            "held": format_dollars(held_micro),
        }
        super().__init__(message, detail=detail)
        self.account = account
        self.needed_micro = needed_micro
        self.available_micro = available_micro
        self.held_micro = held_micro


class UnknownAccount(NotFound):
    """The ledger has no such account. It is opened by a command, or by the first hold that names it as a scope."""

    code = "unknown_account"

    def __init__(self, account: str) -> None:
        super().__init__(f"the ledger has no account {account!r}; open it first", detail={"account": account})
        self.account = account


class UnknownHold(NotFound):
    """Nothing was ever held under this id, so there is nothing to post or void."""

    code = "unknown_hold"

    def __init__(self, hold: str) -> None:
        super().__init__(f"nothing was ever held under {hold!r}", detail={"hold": hold})
        self.hold = hold


class WrongAccount(Conflict):
    """The account exists, but it is of another kind or currency than the command needs."""

    code = "wrong_account"


class BadCommand(BadRequest):
    """A ledger command that no state of the ledger could accept: an amount, a name or an instant is out of range."""

    code = "bad_ledger_command"


class LedgerBroken(SurplusError):
    """The log contradicts itself: it was changed behind the ledger's back, or the disk lost part of it."""

    code = "ledger_broken"


class BadCheckpoint(SurplusError):
    """What was kept of an earlier check of the log cannot be used; the log itself may be well."""

    code = "bad_checkpoint"
