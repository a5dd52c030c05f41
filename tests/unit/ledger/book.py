"""A ledger in memory: the pure rules without a database."""

from surplus.kit.errors import SurplusError
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger.commands import (
    ChargeSlice,
    Command,
    Cost,
    DrawSlice,
    OpenAccount,
    PlaceHold,
    PostHold,
    Transfer,
)
from surplus.ledger.decide import decide
from surplus.ledger.evolve import State, evolve
from surplus.ledger.model import Account, AccountKind, Entry, Outcome, Scope

NOW = 1_800_000_000.0
WALLET = Scope("wallet:org_1", AccountKind.WALLET, 0)


class Book:
    """Applies commands one at a time and keeps every entry."""

    def __init__(self) -> None:
        self.state = State(0)
        self.log: list[Entry] = []
        self.now = NOW

    def do(self, command: Command) -> Outcome | SurplusError:
        """The answer to a command, after its entries have happened."""
        entries, outcome = decide(self.state, command, self.now)
        for entry in entries:
            evolve(self.state, entry)
            self.state.entries[entry.key] = entry
        self.log += entries
        return outcome

    def account(self, name: str) -> Account:
        return self.state.accounts[name]


def funded(micro: int = 1000, *, limit: int | None = 0) -> Book:
    """A book whose wallet `wallet:org_1` has `micro` and a credit limit."""
    book = Book()
    book.do(OpenAccount("o1", WALLET.account, AccountKind.WALLET, limit))
    if micro:
        book.do(Transfer("t1", "payments", WALLET.account, micro, "topup", "", NOW))
    return book


def budget(name: str, cap: int | None) -> Scope:
    return Scope(f"budget:{name}", AccountKind.BUDGET, cap)


def place(hold: str, amount: int, *budgets: Scope, wallet: Scope = WALLET, ends: float = NOW + 60) -> PlaceHold:
    return PlaceHold(hold, wallet, budgets, amount, ends, hold)


def draw(name: str, want: int, *budgets: Scope, hold: int = 1, wallet: Scope = WALLET) -> DrawSlice:
    return DrawSlice(name, "gw_1", wallet, budgets, want, hold)


def charge(name: str, ref: str, *micro: int, granted: int = 100, wallet: Scope = WALLET) -> ChargeSlice:
    costs = tuple(Cost(each * GRAINS_PER_MICRO, granted) for each in micro)
    return ChargeSlice(name, wallet.account, costs, "revenue:tokens", ref, NOW)


def post(hold: str, micro: int, *, grains: int = 0) -> PostHold:
    return PostHold(hold, micro * GRAINS_PER_MICRO + grains, "revenue:tokens", hold, NOW)
