"""Random operations on a ledger, and the commands they become once the state of the auditor is known."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from surplus.kit.errors import IdempotencyConflict
from surplus.ledger.commands import (
    ChargeSlice,
    Command,
    Cost,
    DrawSlice,
    OpenAccount,
    PlaceHold,
    PostHold,
    ReturnSlice,
    SetLimit,
    Transfer,
    VoidHold,
    Wish,
)
from surplus.ledger.errors import BadCommand, InsufficientFunds, UnknownAccount, UnknownHold, WrongAccount
from surplus.ledger.model import (
    AccountKind,
    Charged,
    Drawn,
    Expired,
    LimitSet,
    Placed,
    Posted,
    Recalled,
    Returned,
    Scope,
    Transferred,
    Voided,
)
from tests.properties.auditor import GRAINS, TOO_MUCH, Answer, Auditor

START = 1_800_000_000
WALLETS = {"wallet:a": 0, "wallet:b": 300}  # opening limits
BUDGETS = {"budget:x": 400, "budget:y": 1000, "budget:soft": None}

wallets = st.sampled_from(list(WALLETS))
numbers = st.integers(0, 10**6)
amounts = st.one_of(st.integers(0, 600), st.sampled_from(["all", "one too many", "what slices have too"]))
small = st.sampled_from([0, 1, 1, 2, 3, 7, 20])
wants = st.sampled_from([0, 1, 3, 10, 50, 200])
names_of_budgets = st.sets(st.sampled_from(list(BUDGETS)))
few_budgets = st.sets(st.sampled_from(list(BUDGETS)), max_size=1)
costs = st.tuples(
    st.sampled_from(["nothing", "below", "at", "above"]), st.sampled_from([0, 1, GRAINS // 2, GRAINS - 1])
)
limits = st.one_of(st.integers(0, 900), st.just(20_000), st.none())

places = st.tuples(st.just("place"), wallets, names_of_budgets, amounts, st.integers(-1, 60))
wishes = st.tuples(st.just("wish"), wallets, few_budgets, st.one_of(small, amounts), st.integers(0, 60), numbers, wants)
draws = st.tuples(st.just("draw"), wallets, few_budgets, small, numbers, wants)
returns = st.tuples(st.just("return"), numbers, st.sampled_from(["nothing", "half", "all", "more"]))
uses = st.tuples(
    st.sampled_from(["nothing", "below", "at", "above"]), st.integers(0, 40), st.sampled_from([0, 1, GRAINS - 1])
)
charges = st.tuples(st.just("charge"), numbers, st.lists(uses, max_size=4))
slices = st.one_of(wishes, draws, draws, returns, charges)
settlements = st.one_of(st.tuples(st.just("post"), numbers, costs), st.tuples(st.just("void"), numbers))
money = st.one_of(
    st.tuples(st.just("move"), st.just("payments"), wallets, st.sampled_from([1, 700, 2000, 30_000, TOO_MUCH])),
    st.tuples(st.just("move"), wallets, st.just("payments"), amounts),
    st.tuples(st.just("move"), wallets, st.sampled_from(list(BUDGETS)), st.just(1)),
    st.tuples(st.just("limit"), st.sampled_from([*WALLETS, *BUDGETS]), limits),
)
echoes = st.tuples(st.sampled_from(["repeat", "contradict"]), numbers)
anything = st.one_of(places, settlements, slices, money, echoes)


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
            case ("wish" | "draw" | "return" | "charge", *_):
                return self._of_slices(operation, key, now)
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

    def _of_slices(self, operation: tuple[Any, ...], key: str, now: float) -> Command:
        match operation:
            case ("wish", wallet, names, amount, ttl, pick, want):
                place = self._command(("place", wallet, names, amount, ttl), key, now)
                assert isinstance(place, PlaceHold)
                name, holder = self._slice(pick)
                return replace(place, wish=Wish(name, holder, want), final=pick % 5 == 0)
            case ("draw", wallet, names, hold, pick, want):
                budgets = tuple(Scope(name, AccountKind.BUDGET, BUDGETS[name]) for name in sorted(names, reverse=True))
                return DrawSlice(
                    *self._slice(pick), Scope(wallet, AccountKind.WALLET, WALLETS[wallet]), budgets, want, hold
                )
            case ("return", pick, how):
                name, _ = self._slice(pick)
                has = self.auditor.lots[name].amount if name in self.auditor.lots else 0
                return ReturnSlice(name, {"nothing": 0, "half": has // 2, "all": has, "more": has + 5}[how])
            case ("charge", pick, used):
                name, _ = self._slice(pick)
                lot = self.auditor.lots.get(name)
                wallet = lot.scopes[0] if lot is not None and pick % 7 else list(WALLETS)[pick % 2]
                costs = tuple(_cost(how, micro, rest) for how, micro, rest in used)
                return ChargeSlice(name, wallet, costs, "revenue:tokens", f"c{key}", START)
            case _:
                raise AssertionError(operation)

    def _amount(self, amount: int | str, accounts: tuple[str, ...], now: float) -> int:
        if isinstance(amount, int):
            return amount
        idle = {name: self.auditor.sliced(name) if amount == "what slices have too" else 0 for name in accounts}
        rests = [(idle[name], self.auditor.rest(name, now, (WALLETS | BUDGETS)[name])) for name in accounts]
        room = [rest + more for more, rest in rests if rest is not None]
        return max(0, min(room, default=600)) + (amount == "one too many")

    def _slice(self, pick: int) -> tuple[str, str]:
        """One of a few slices, and its holder; now and then another process than before."""
        return f"s{pick % 3}", f"gw{pick % 3 % 2 if pick % 11 else 2}"

    def _hold(self, pick: int) -> tuple[str, int]:
        """A hold of before, mostly an open one; or one that was never placed."""
        open_ones = [name for name, hold in self.auditor.holds.items() if hold.ends == "placed"]
        names = (open_ones if pick % 3 else list(self.auditor.holds)) or ["h-none"]
        name = names[pick // 3 % len(names)]
        return name, self.auditor.holds[name].amount if name in self.auditor.holds else 0


def reordered(command: Command) -> Command:
    """The same command, its budgets named in another order."""
    match command:
        case PlaceHold():
            return replace(command, budgets=command.budgets[::-1])
        case _:
            return command


def contradiction(command: Command) -> Command:
    """Another command under the key of this one."""
    match command:
        case PlaceHold():
            return replace(command, amount_micro=command.amount_micro + 1)
        case PostHold(hold, grains, revenue):
            return PostHold(hold, grains + 1, revenue, "", START)
        case Transfer(key, debit, credit, amount):
            return Transfer(key, debit, credit, amount % 7 + 2001, "", "", START)
        case SetLimit(key, account, limit):
            return SetLimit(key, account, (limit or 0) + 1)
        case ChargeSlice():
            return replace(command, costs=(*command.costs, Cost(1, 1)))
        case OpenAccount() | VoidHold() | DrawSlice() | ReturnSlice():
            return command


def _cost(how: str, micro: int, rest: int) -> Cost:
    """A cost beside what was granted for it, `micro`."""
    cost = {"nothing": 0, "below": micro // 2, "at": micro, "above": micro + 3}[how]
    return Cost(cost * GRAINS + (rest if how != "nothing" else 0), micro)


def _scopes(command: PlaceHold | DrawSlice) -> list[tuple[str, int | None]]:
    return [(scope.account, scope.limit) for scope in (command.wallet, *command.budgets)]


def expect(auditor: Auditor, command: Command, now: float) -> Answer:
    """What the auditor answers to a command."""
    match command:
        case PlaceHold():
            wish = (command.wish.slice, command.wish.holder, command.wish.want_micro) if command.wish else None
            hold, amount, deadline = command.hold, command.amount_micro, command.deadline
            return auditor.place(hold, _scopes(command), amount, deadline, now, wish, final=command.final)
        case DrawSlice():
            want, hold = command.want_micro, command.hold_micro
            return auditor.draw(command.slice, command.holder, _scopes(command), want, hold, now)
        case ReturnSlice():
            return auditor.give_back(command.slice, command.keep_micro)
        case ChargeSlice():
            costs = [(cost.grains, cost.granted_micro) for cost in command.costs]
            return auditor.charge(command.ref, command.slice, command.wallet, costs)
        case PostHold():
            return auditor.post(command.hold, command.grains)
        case VoidHold():
            return auditor.void(command.hold)
        case Transfer():
            return auditor.move(command.key, command.debit, command.credit, command.amount_micro, now)
        case SetLimit():
            return auditor.limit(command.key, command.account, command.limit, now)
        case OpenAccount():
            raise AssertionError(command)


IN_THE_AUDITORS_WORDS: dict[type, Callable[..., Answer]] = {
    Placed: lambda found: ("placed", found.state.value, found.first),
    Posted: lambda found: ("posted", found.charged_micro, found.overrun_micro, found.first),
    Voided: lambda found: ("voided", found.first),
    Expired: lambda _: ("expired",),
    Transferred: lambda found: ("moved", found.first),
    Drawn: lambda found: ("drawn", found.drawn_micro),
    Returned: lambda found: ("returned", found.returned_micro),
    Charged: lambda found: ("charged", found.charged_micro, found.overrun_micro, found.first),
    Recalled: lambda found: ("recalled", found.accounts),
    LimitSet: lambda found: ("limit", found.limit, found.first),
    InsufficientFunds: lambda found: ("short", found.account, False),
    UnknownAccount: lambda found: ("unknown", found.account, False),
    UnknownHold: lambda found: ("unknown", found.hold, False),
    IdempotencyConflict: lambda found: ("conflict", found.param),
    BadCommand: lambda _: ("bad",),
    WrongAccount: lambda _: ("wrong",),
}
