"""What no ledger could accept, whatever its state: names, amounts and instants that are out of range. Pure."""

from typing import Final

from surplus.kit.money import MAX_MICRO, ceiling_micro, format_dollars
from surplus.ledger.commands import (
    RESERVED,
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
from surplus.ledger.errors import BadCommand
from surplus.ledger.model import HOUSE, LIMITED, AccountKind, Scope

NAME_MAX: Final = 150
NOTE_MAX: Final = 400
INSTANT_MAX: Final = 253_402_300_800.0
"""The year 10000; an instant beyond it is a mistake of units."""


def check(command: Command) -> None:
    """Raise BadCommand if the command could never be accepted."""
    match command:
        case PlaceHold():
            _place(command)
        case PostHold():
            _post(command)
        case VoidHold():
            _name("hold", command.hold)
            _note("reason", command.reason)
        case DrawSlice():
            _draw(command)
        case ReturnSlice():
            _name("slice", command.slice)
            _amount("keep_micro", command.keep_micro)
        case ChargeSlice():
            _charge(command)
        case Transfer():
            _transfer(command)
        case OpenAccount():
            _key(command.key)
            _scope(Scope(command.account, command.kind, command.limit))
        case SetLimit():
            _key(command.key)
            _name("account", command.account)
            _limit(command.limit)


def _place(command: PlaceHold) -> None:
    _name("hold", command.hold)
    _note("ref", command.ref)
    _amount("amount_micro", command.amount_micro)
    _instant("deadline", command.deadline)
    _scopes(command.wallet, command.budgets)
    if command.wish is not None:
        _name("slice", command.wish.slice)
        _name("holder", command.wish.holder)
        _amount("want_micro", command.wish.want_micro)


def _scopes(wallet: Scope, budgets: tuple[Scope, ...]) -> None:
    _scope(wallet)
    if wallet.kind is not AccountKind.WALLET:
        raise BadCommand(f"{wallet.account} is no wallet; a hold needs one to pay", param="wallet")
    for budget in budgets:
        _scope(budget)
        if budget.kind is not AccountKind.BUDGET:
            raise BadCommand(f"{budget.account} is no budget", param="budgets")
    if len({wallet.account, *(budget.account for budget in budgets)}) <= len(budgets):
        raise BadCommand("a hold counts once in every account; the same one is named twice", param="budgets")


def _draw(command: DrawSlice) -> None:
    _name("slice", command.slice)
    _name("holder", command.holder)
    _scopes(command.wallet, command.budgets)
    _amount("want_micro", command.want_micro)
    _amount("hold_micro", command.hold_micro)


def _charge(command: ChargeSlice) -> None:
    _name("slice", command.slice)
    _name("ref", command.ref)
    _scope(Scope(command.wallet, AccountKind.WALLET, 0), "wallet")
    _scope(Scope(command.revenue, AccountKind.REVENUE, None), "revenue")
    _instant("event_at", command.event_at)
    for cost in command.costs:
        if cost.grains < 0:
            raise BadCommand("a cost cannot be negative; give money back with a transfer", param="grains")
        _amount("granted_micro", cost.granted_micro)
    _amount("grains", ceiling_micro(command.grains))


def _post(command: PostHold) -> None:
    _name("hold", command.hold)
    _scope(Scope(command.revenue, AccountKind.REVENUE, None), "revenue")
    _note("ref", command.ref)
    _instant("event_at", command.event_at)
    if command.grains < 0:
        raise BadCommand("a cost cannot be negative; give money back with a transfer", param="grains")
    _amount("grains", ceiling_micro(command.grains))


def _transfer(command: Transfer) -> None:
    _key(command.key)
    _name("debit", command.debit)
    _name("credit", command.credit)
    _note("code", command.code)
    _note("ref", command.ref)
    _instant("event_at", command.event_at)
    _amount("amount_micro", command.amount_micro)
    if command.amount_micro == 0:
        raise BadCommand("a transfer of nothing is none; its amount has to be above zero", param="amount_micro")
    if command.debit == command.credit:
        raise BadCommand(f"{command.debit} cannot pay itself", param="credit")


def _scope(scope: Scope, what: str = "account") -> None:
    _name(what, scope.account)
    _limit(scope.limit)
    if HOUSE.get(scope.account, scope.kind) != scope.kind:
        raise BadCommand(f"{scope.account} is an account of the operator; choose another name", param=what)
    if scope.limit is not None and scope.kind not in LIMITED:
        raise BadCommand(f"{scope.account}: only wallets and budgets have limits", param="limit")


def _limit(limit: int | None) -> None:
    if limit is not None:
        _amount("limit", limit)


def _amount(what: str, micro: int) -> None:
    if not 0 <= micro < MAX_MICRO:
        message = f"{what} has to be from 0 to below {format_dollars(MAX_MICRO)} USD, not {format_dollars(micro)}"
        raise BadCommand(message, param=what)


def _instant(what: str, instant: float) -> None:
    if not 0 <= instant < INSTANT_MAX:  # also refuses what is not a number
        raise BadCommand(f"{what} has to be seconds since 1970 (UTC), not {instant}", param=what)


def _key(key: str) -> None:
    _name("key", key)
    if key.startswith(RESERVED):
        raise BadCommand(f"the key {key!r} begins like the ledger's own; choose another beginning", param="key")


def _name(what: str, text: str) -> None:
    if not 0 < len(text) <= NAME_MAX or not text.isprintable():
        raise BadCommand(f"{what} has to be 1 to {NAME_MAX} printable characters, not {text[:40]!r}", param=what)


def _note(what: str, text: str) -> None:
    if len(text) > NOTE_MAX or not text.isprintable():
        raise BadCommand(f"{what} has to be at most {NOTE_MAX} printable characters", param=what)
