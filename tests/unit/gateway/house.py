"""A house with one customer: a wallet, a price, budgets, and the books that must always add up."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select

from surplus.billing import service as billing
from surplus.billing.budgets import Budget, BudgetScope, Period
from surplus.billing.rating import PriceSheet
from surplus.gateway.entries import Settled
from surplus.kit import outbox
from surplus.kit.db import Database, ReadSession, WriteSession, metadata
from surplus.kit.errors import SurplusError
from surplus.kit.ids import CountedIds
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, OpenAccount, PlaceHold, Transfer
from surplus.ledger.model import AccountKind, Balance, Scope
from surplus.metering import service as metering
from surplus.metering.model import Totals, UsageRecord
from tests.unit.gateway.parts import NOW, dollars

WALLET: Final = "wallet:org_1"
GATEWAY: Final = "gateway-test"
TTL_S: Final = 900.0


class House:
    """One organization with money, on a real store."""

    def __init__(self, database: Database, credit_micro: int = 1_000_000) -> None:
        self.database = database
        self.ids = CountedIds()
        self.do(
            OpenAccount("open", WALLET, AccountKind.WALLET, 0),
            Transfer("topup", "payments", WALLET, credit_micro, "topup", "", NOW),
        )

    def do(self, *commands: Command, now: float = NOW) -> None:
        for outcome in self.database.write_now(ledger.apply, commands, now=now):
            assert not isinstance(outcome, SurplusError), outcome

    def publish(self) -> PriceSheet:
        """The prices of `parts.dollars`, in the price book."""
        prices = dict(dollars().prices)
        return self.database.write_now(
            billing.publish_prices, self.ids, "tiny", prices, effective_from=NOW, now=NOW, force=True
        )

    def budget(
        self, cap: int, scope: BudgetScope = BudgetScope.ORGANIZATION, scope_id: str = "org_1", **more: Any
    ) -> Budget:
        fields: dict[str, Any] = {"period": Period.FOREVER, "hard": True, "now": NOW, **more}
        return self.database.write_now(
            billing.set_budget, self.ids, org="org_1", scope=scope, scope_id=scope_id, cap_micro=cap, **fields
        )

    def hold(self, request: str, micro: int, *budgets: Budget, at: float = NOW, ref: str | None = None) -> None:
        """A hold of the ledger itself, as the gateway places it."""
        scopes = tuple(Scope(budget.account(at), AccountKind.BUDGET, budget.limit) for budget in budgets)
        wallet = Scope(WALLET, AccountKind.WALLET, 0)
        self.do(PlaceHold(request, wallet, scopes, micro, at + TTL_S, ref or f"{GATEWAY}/{request}"), now=at)

    def balance(self, account: str = WALLET, *, at: float = NOW) -> Balance:
        return self.database.read_now(ledger.balance, account, now=at)

    def record(self, request: str) -> UsageRecord:
        (found,) = [one for one in self.records() if one.id == request]
        return found

    def records(self) -> list[UsageRecord]:
        found: list[UsageRecord] = []
        while page := self.database.read_now(
            metering.records, org="org_1", before=found[-1].id if found else None, limit=1000
        ):
            found += page
        return found

    def totals(self) -> Totals:
        return self.database.read_now(metering.totals, org="org_1")

    def told(self, topic: str) -> list[dict[str, Any]]:
        """What was published under a topic, in order."""
        messages = self.database.read_now(outbox.pending, "test", limit=1000)
        return [dict(message.body) for message in messages if message.topic == topic]

    def held(self) -> list[str]:
        """Holds of the ledger that have not ended, and slices of which requests are said to hold something."""
        return [hold.id for hold in self.database.read_now(ledger.active_holds)] + self.database.read_now(_granting)

    def dump(self) -> dict[str, list[Any]]:
        """Every row of every table."""
        return self.database.read_now(_rows)

    def check(self, settled: Sequence[Settled] = ()) -> None:
        """The books add up: the ledger's own proof, and every record against what was charged for it."""
        proof = self.database.read_now(ledger.verify)
        assert proof.ok, proof.problems
        records, totals = self.records(), self.totals()
        assert len({one.id for one in records}) == len(records) == totals.requests
        assert sum(one.charged_micro for one in records) == totals.charged_micro
        assert -self.balance().debits + sum(one.charged_micro for one in records) == 0
        by_id = {one.id: one for one in records}
        for entry in settled:
            assert by_id[entry.admitted.request].usage == entry.usage
            assert by_id[entry.admitted.request].cost_grains == int(entry.grains)


def _granting(session: ReadSession) -> list[str]:
    grants = metadata.tables["ledger_grant"]
    return [row[0] for row in session.all(select(grants.c.slice).where(grants.c.granted_micro > 0))]


def _rows(session: ReadSession) -> dict[str, list[Any]]:
    return {
        table.name: [tuple(row) for row in session.all(select(table).order_by(*table.primary_key.columns))]
        for table in metadata.sorted_tables
    }


def drop(session: WriteSession, name: str) -> None:
    """Forget every row of a table."""
    session.drop_rows(metadata.tables[name])
