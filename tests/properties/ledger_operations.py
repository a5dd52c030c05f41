"""Random operations on a ledger, and the commands they become once the state of the auditor is known."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from surplus.kit.errors import IdempotencyConflict
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, PostHold, SetLimit, Transfer, VoidHold
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownAccount, UnknownHold, WrongAccount
from surplus.ledger.model import AccountKind, Expired, LimitSet, Placed, Posted, Scope, Transferred, Voided
from tests.properties.auditor import GRAINS, TOO_MUCH, Answer, Auditor

START = 1_800_000_000
WALLETS = {"wallet:a": 0, "wallet:b": 300}  # opening limits
BUDGETS = {"budget:x": 400, "budget:y": 1000, "budget:soft": None}

wallets = st.sampled_from(list(WALLETS))
numbers = st.integers(0, 10**6)
amounts = st.one_of(st.integers(0, 600), st.sampled_from(["all", "one too many"]))
costs = st.tuples(
    st.sampled_from(["nothing", "below", "at", "above"]), st.sampled_from([0, 1, GRAINS // 2, GRAINS - 1])
)
limits = st.one_of(st.integers(0, 900), st.none())

places = st.tuples(st.just("place"), wallets, st.sets(st.sampled_from(list(BUDGETS))), amounts, st.integers(-1, 60))
settlements = st.one_of(st.tuples(st.just("post"), numbers, costs), st.tuples(st.just("void"), numbers))
money = st.one_of(
    st.tuples(st.just("move"), st.just("payments"), wallets, st.one_of(st.integers(1, 2000), st.just(TOO_MUCH))),
    st.tuples(st.just("move"), wallets, st.just("payments"), amounts),
    st.tuples(st.just("move"), wallets, st.sampled_from(list(BUDGETS)), st.just(1)),
    st.tuples(st.just("limit"), st.sampled_from([*WALLETS, *BUDGETS]), limits),
)
echoes = st.tuples(st.sampled_from(["repeat", "contradict"]), numbers)
anything = st.one_of(places, settlements, money, echoes)


class Writer:
    """Turns operations into commands. Keeps what was sent, so that it can be sent again."""

    def __init__(self, auditor: Auditor) -> None:
        self.auditor = auditor
        self.sent: list[Command] = []

    def write(self, operations: list[tuple[Any, ...]], now: float) -> list[Command]:
        return [self._command(operation, f"{len(self.sent)}.{n}", now) for n, operation in enumerate(operations)]

    def _command(self, operation: tuple[Any, ...], key: str, now: float) -> Command:
        match operation:
            case ("place", wallet, names, amount, ttl):
                # budgets in no particular order: the ledger has to put them into one
                budgets = tuple(Scope(name, AccountKind.BUDGET, BUDGETS[name]) for name in sorted(names, reverse=True))
                scope = Scope(wallet, AccountKind.WALLET, WALLETS[wallet])
                return PlaceHold(f"h{key}", scope, budgets, self._amount(amount, (wallet, *names), now), now + ttl, "")
            case ("post", pick, (how, rest)):
                hold, held = self._hold(pick)
                micro = {"nothing": 0, "below": held // 2, "at": held, "above": held + pick % 50 + 1}[how]
                return PostHold(hold, micro * GRAINS + (rest if how != "nothing" else 0), "revenue:tokens", "", START)
            case ("void", pick):
                return VoidHold(self._hold(pick)[0], "")
            case ("move", source, to, amount):
                return Transfer(f"t{key}", source, to, self._amount(amount, (source,), now), "", "", START)
            case ("limit", account, limit):
                return SetLimit(f"s{key}", account, limit)
            case ("repeat", pick):
                return reordered(self.sent[pick % len(self.sent)])
            case ("contradict", pick):
                return contradiction(self.sent[pick % len(self.sent)])
            case _:
                raise AssertionError(operation)

    def _amount(self, amount: int | str, accounts: tuple[str, ...], now: float) -> int:
        if isinstance(amount, int):
            return amount
        limits = [(name, self.auditor.limits.get(name, (WALLETS | BUDGETS)[name])) for name in accounts]
        room = [self.auditor.net(name, now) + limit for name, limit in limits if limit is not None]
        return max(0, min(room, default=600)) + (amount == "one too many")

    def _hold(self, pick: int) -> tuple[str, int]:
        """A hold of before, mostly an open one; or one that was never placed."""
        open_ones = [name for name, hold in self.auditor.holds.items() if hold.ends == "placed"]
        names = (open_ones if pick % 3 else list(self.auditor.holds)) or ["h-none"]
        name = names[pick // 3 % len(names)]
        return name, self.auditor.holds[name].amount if name in self.auditor.holds else 0


def reordered(command: Command) -> Command:
    """The same command, its budgets named in another order."""
    match command:
        case PlaceHold(hold, wallet, budgets, amount, deadline):
            return PlaceHold(hold, wallet, budgets[::-1], amount, deadline, "")
        case _:
            return command


def contradiction(command: Command) -> Command:
    """Another command under the key of this one."""
    match command:
        case PlaceHold(hold, wallet, budgets, amount, deadline):
            return PlaceHold(hold, wallet, budgets, amount + 1, deadline, "")
        case PostHold(hold, grains, revenue):
            return PostHold(hold, grains + 1, revenue, "", START)
        case Transfer(key, debit, credit, amount):
            return Transfer(key, debit, credit, amount % 7 + 2001, "", "", START)
        case SetLimit(key, account, limit):
            return SetLimit(key, account, (limit or 0) + 1)
        case OpenAccount() | VoidHold():
            return command


def expect(auditor: Auditor, command: Command, now: float) -> Answer:
    """What the auditor answers to a command."""
    match command:
        case PlaceHold():
            scopes = [(scope.account, scope.limit) for scope in (command.wallet, *command.budgets)]
            return auditor.place(command.hold, scopes, command.amount_micro, command.deadline, now)
        case PostHold():
            return auditor.post(command.hold, command.grains)
        case VoidHold():
            return auditor.void(command.hold)
        case Transfer():
            return auditor.move(command.key, command.debit, command.credit, command.amount_micro, now)
        case SetLimit():
            return auditor.limit(command.key, command.account, command.limit)
        case OpenAccount():
            raise AssertionError(command)


IN_THE_AUDITORS_WORDS: dict[type, Callable[..., Answer]] = {
    Placed: lambda found: ("placed", found.state.value, found.first),
    Posted: lambda found: ("posted", found.charged_micro, found.overrun_micro, found.first),
    Voided: lambda found: ("voided", found.first),
    Expired: lambda _: ("expired",),
    Transferred: lambda found: ("moved", found.first),
    LimitSet: lambda found: ("limit", found.limit, found.first),
    InsufficientFunds: lambda found: ("short", found.account, False),
    UnknownAccount: lambda found: ("unknown", found.account, False),
    UnknownHold: lambda found: ("unknown", found.hold, False),
    IdempotencyConflict: lambda found: ("conflict", found.param),
    BadCommand: lambda _: ("bad",),
    WrongAccount: lambda _: ("wrong",),
}
