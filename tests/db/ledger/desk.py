"""A ledger in a real database, and whole tables as text."""

from collections.abc import Sequence

from sqlalchemy import select

from surplus.kit.db import Database, ReadSession
from surplus.kit.errors import SurplusError
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger import service, tables
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
from surplus.ledger.model import AccountKind, Balance, Outcome, Scope, Verification

NOW = 1_800_000_000.0
WALLET = Scope("wallet:org_1", AccountKind.WALLET, 0)


class Desk:
    """Applies batches at a time that tests set."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW

    def batch(self, *commands: Command) -> Sequence[Outcome | SurplusError]:
        return self.database.write_now(service.apply, commands, now=self.now)

    def do(self, command: Command) -> Outcome | SurplusError:
        return self.batch(command)[0]

    def fund(self, micro: int, *, limit: int | None = 0) -> None:
        self.batch(
            OpenAccount("o1", WALLET.account, AccountKind.WALLET, limit),
            Transfer("t1", "payments", WALLET.account, micro, "topup", "", self.now),
        )

    def balance(self, account: str = WALLET.account) -> Balance:
        return self.database.read_now(service.balance, account, now=self.now)

    def verify(self) -> Verification:
        return self.database.read_now(service.verify)

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every ledger table, in the order of its primary key."""
        return self.database.read_now(_dump)


def _dump(session: ReadSession) -> dict[str, list[tuple[object, ...]]]:
    found = (
        tables.entries,
        tables.batches,
        tables.accounts,
        tables.holds,
        tables.slices,
        tables.slice_scopes,
        tables.grants,
    )
    return {
        table.name: [tuple(row) for row in session.all(select(table).order_by(*table.primary_key.columns))]
        for table in found
    }


def budget(name: str, cap: int | None) -> Scope:
    return Scope(f"budget:{name}", AccountKind.BUDGET, cap)


def place(hold: str, amount: int, *budgets: Scope, wallet: Scope = WALLET, ends: float = NOW + 60) -> PlaceHold:
    return PlaceHold(hold, wallet, budgets, amount, ends, hold)


def draw(name: str, want: int, *budgets: Scope, hold: int = 1, holder: str = "gw_1") -> DrawSlice:
    return DrawSlice(name, holder, WALLET, budgets, want, hold)


def charge(name: str, ref: str, *micro: int, granted: int = 100, grains: int = 0) -> ChargeSlice:
    costs = tuple(Cost(each * GRAINS_PER_MICRO + grains, granted) for each in micro)
    return ChargeSlice(name, WALLET.account, costs, "revenue:tokens", ref, NOW)


def post(hold: str, micro: int, *, grains: int = 0) -> PostHold:
    return PostHold(hold, micro * GRAINS_PER_MICRO + grains, "revenue:tokens", hold, NOW)
