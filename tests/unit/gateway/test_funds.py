"""Near a cap: money is held in every scope or in none, and what nobody waits for any more is given back."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from surplus.billing.budgets import Budget, BudgetScope, Period
from surplus.gateway.errors import BudgetInFlight, BudgetSpent
from surplus.gateway.funds import IN_FLIGHT_RETRY_S
from surplus.gateway.ports import Grant, HoldRequest
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, ReadSession, StoreUnavailable, WriteSession, metadata
from surplus.kit.errors import SurplusError
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, OpenAccount, PostHold, Transfer
from surplus.ledger.errors import UnknownHold
from surplus.ledger.model import AccountKind, Balance, HoldState
from tests.unit.gateway.loading import escrow, granted
from tests.unit.gateway.parts import NOW

WALLET = "wallet:org_1"


def budget(
    name: str, cap: int, *, hard: bool = True, period: Period = Period.DAY, scope: Any = BudgetScope.KEY
) -> Budget:
    return Budget(name, "org_1", scope, "key_1", cap, period, hard, NOW)


class Till:
    """A funded wallet, and what draws on it."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.funds = escrow(database, clock)

    def do(self, *commands: Command) -> None:
        for outcome in self.database.write_now(ledger.apply, commands, now=self.clock.now()):
            assert not isinstance(outcome, SurplusError), outcome

    def fund(self, micro: int) -> None:
        self.do(
            OpenAccount("o1", WALLET, AccountKind.WALLET, 0),
            Transfer("t1", "payments", WALLET, micro, "topup", "", NOW),
        )

    async def hold(self, request: str, micro: int, *budgets: Budget, org: str = "org_1") -> Grant:
        return await self.funds.hold(
            HoldRequest(request, org, budgets, micro, self.clock.now(), self.clock.now() + 900)
        )

    async def refused(self, request: str, micro: int, *budgets: Budget) -> SurplusError:
        with pytest.raises((BudgetSpent, BudgetInFlight)) as caught:
            await self.hold(request, micro, *budgets)
        assert request not in self.held
        return caught.value

    def balance(self, account: str = WALLET) -> Balance:
        return self.database.read_now(ledger.balance, account, now=self.clock.now())

    @property
    def held(self) -> dict[str, int]:
        """Every hold that has not ended, and what is granted of slices."""
        holds = {hold.id: hold.amount for hold in self.database.read_now(ledger.active_holds)}
        return holds | granted(self.funds)

    def state(self, request: str) -> HoldState | None:
        """What has become of a hold; None if there never was one."""

        def look(session: ReadSession) -> HoldState | None:
            try:
                return ledger.hold(session, request).state
            except UnknownHold:
                return None

        return self.database.read_now(look)

    @contextmanager
    def busy(self) -> Iterator[threading.Event]:
        """The database's writer is at work until the block ends, or until the event is set."""
        begun, go = threading.Event(), threading.Event()

        def work(session: WriteSession) -> None:
            begun.set()
            assert go.wait(10)

        writing = threading.Thread(target=self.database.write_now, args=(work,))
        writing.start()
        assert begun.wait(10)
        try:
            yield go
        finally:
            go.set()
            writing.join()


@pytest.fixture
def till(database: Database, clock: ManualClock) -> Till:
    till = Till(database, clock)
    till.fund(100)
    return till


async def test_money_is_held_in_the_wallet_and_in_every_budget(till: Till) -> None:
    day, month = budget("bud_1", 50), budget("bud_2", 80, period=Period.MONTH)
    grant = await till.hold("req_1", 30, day, month)
    assert till.held == {"req_1": 30}
    for account in (WALLET, "budget:bud_1:2026-11-21", "budget:bud_2:2026-11"):
        assert till.balance(account).held == 30
    till.funds.release("req_1", grant)
    await till.funds.settle_releases()
    assert till.held == {}
    assert till.balance().available == 100


@pytest.mark.parametrize("short", ["bud_1", "bud_2"])
async def test_one_scope_without_room_refuses_all(till: Till, short: str) -> None:
    budgets = [budget(name, 10 if name == short else 80) for name in ("bud_1", "bud_2")]
    error = await till.refused("req_1", 30, *budgets)
    assert isinstance(error, BudgetSpent)
    assert error.detail["budget"] == short
    assert till.balance().held == 0


async def test_a_soft_budget_counts_but_never_refuses(till: Till) -> None:
    await till.hold("req_1", 30, budget("bud_1", 10, hard=False))
    assert till.balance("budget:bud_1:2026-11-21").held == 30


async def test_money_that_is_spent_does_not_come_back(till: Till) -> None:
    await till.hold("req_1", 90)
    till.do(PostHold("req_1", 90 * GRAINS_PER_MICRO, "revenue:tokens", "req_1", NOW))
    error = await till.refused("req_2", 20)
    assert isinstance(error, BudgetSpent)
    assert (error.status, error.code, error.retryable) == (429, "insufficient_quota", False)
    for words in ("the wallet of this organization", "0.000010 USD available", "0.000020 USD", "add credit"):
        assert words in error.message
    assert error.detail == {
        "scope": "wallet",
        "budget": None,
        "available": "0.000010",
        "held": "0.000000",
        "needed": "0.000020",
    }


async def test_money_that_is_held_comes_back_when_requests_end(till: Till) -> None:
    grant = await till.hold("req_1", 90)
    error = await till.refused("req_2", 100)
    assert isinstance(error, BudgetInFlight)
    assert (error.status, error.code, error.retryable, error.retry_after_s) == (
        429,
        "budget_in_flight",
        None,
        IN_FLIGHT_RETRY_S,
    )
    assert error.detail["held"] == "0.000090"
    assert isinstance(await till.refused("req_2", 101), BudgetSpent), "more than all of it"
    till.funds.release("req_1", grant)
    await till.funds.settle_releases()
    await till.hold("req_2", 100)


async def test_a_refusal_names_the_budget_that_refused(till: Till) -> None:
    await till.hold("req_1", 10, budget("bud_1", 30))
    error = await till.refused("req_2", 25, budget("bud_1", 30))
    assert isinstance(error, BudgetInFlight)
    assert "budget of this key has 0.000020 USD available and 0.000010 USD held" in error.message
    assert error.detail["scope"] is BudgetScope.KEY
    spent = await till.refused("req_3", 31, budget("bud_1", 30))
    assert "raise the budget" in spent.message


async def test_an_organization_that_never_paid_has_nothing(till: Till) -> None:
    with pytest.raises(BudgetSpent):
        await till.hold("req_1", 1, org="org_2")
    await till.hold("req_2", 0, org="org_2")


async def test_a_window_that_begins_has_its_own_room(till: Till) -> None:
    day = budget("bud_1", 30)
    await till.hold("req_1", 30, day)
    await till.refused("req_2", 1, day)
    till.clock.advance(86_400)
    await till.hold("req_2", 30, day)


async def test_a_hold_that_nobody_waits_for_is_given_back(till: Till) -> None:
    with till.busy() as go:
        waiting = asyncio.create_task(till.hold("req_1", 30))
        behind = asyncio.create_task(till.hold("req_2", 30))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await behind
    await till.funds.settle_releases()
    assert till.state("req_1") is HoldState.VOIDED
    assert till.held == {"req_2": 30}
    assert till.balance().available == 70


async def test_any_moment_of_giving_up_leaves_no_hold(till: Till) -> None:
    for moment in range(12):
        request = f"req_{moment}"
        waiting = asyncio.create_task(till.hold(request, 30))
        for _ in range(moment):
            await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            till.funds.release(request, waiting.result())
        await till.funds.settle_releases()
        assert till.held == {}
        assert till.state(request) in {None, HoldState.VOIDED}
    assert till.balance().available == 100


async def test_many_that_give_up_leave_the_others_theirs(till: Till) -> None:
    waiting = [asyncio.create_task(till.hold(f"req_{number}", 1)) for number in range(60)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await till.funds.settle_releases()
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 30
    assert set(till.held) == {f"req_{number}" for number in range(1, 60, 2)}


async def test_together_no_more_is_held_than_there_is(till: Till) -> None:
    results = await asyncio.gather(*(till.hold(f"req_{n}", 7) for n in range(40)), return_exceptions=True)
    assert sum(result == Grant("", 7) for result in results) == 100 // 7
    assert all(isinstance(result, BudgetInFlight) for result in results if not isinstance(result, Grant))
    assert till.balance().held == 98


async def test_a_release_that_fails_is_left_to_the_deadline(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    grant = await till.hold("req_1", 30)
    till.database.migrate(metadata.drop_all)
    till.funds.release("req_1", grant)
    await till.funds.settle_releases()
    assert [record.message for record in caplog.records] == ["a hold that was not used could not be voided"]
    with pytest.raises(StoreUnavailable):
        await till.hold("req_2", 30)


async def test_a_hold_ends_at_its_deadline_by_itself(till: Till) -> None:
    await till.hold("req_1", 90)
    till.clock.advance(900)
    assert till.balance().available == 100
    await till.hold("req_2", 90)
    assert till.state("req_1") is HoldState.EXPIRED
