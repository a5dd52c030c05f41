"""Far from every cap: one transaction grants many holds, and what nobody uses is there for everybody."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from surplus.billing.budgets import Budget, Period
from surplus.gateway.books import LocalBooks
from surplus.gateway.errors import BudgetInFlight, BudgetSpent
from surplus.gateway.escrow import HOLDS, IDLE_S
from surplus.gateway.funds import RECALL_WAIT_S, EscrowFunds
from surplus.gateway.ports import FundsCommand, Grant, HoldRequest, Load, Loaded
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, StoreUnavailable
from surplus.kit.ids import CountedIds
from surplus.ledger import service as ledger
from surplus.ledger.commands import PlaceHold, ReturnSlice
from surplus.ledger.model import Outcome
from tests.unit.gateway.house import House
from tests.unit.gateway.loading import granted
from tests.unit.gateway.parts import NOW, admitted, settled

RICH = 100_000


class Told(LocalBooks):
    """Books that keep what was asked of them, and fail when told to, before or after it is done."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        super().__init__(database, clock)
        self.asked: list[FundsCommand] = []
        self.before = self.after = False

    async def apply(self, command: FundsCommand) -> Outcome:
        self.asked.append(command)
        self._fail("before")
        outcome = await super().apply(command)
        self._fail("after")
        return outcome

    async def load(self, load: Load) -> Loaded:
        self._fail("before")
        result = await super().load(load)
        self._fail("after")
        return result

    def _fail(self, when: str) -> None:
        if getattr(self, when):
            setattr(self, when, False)
            raise StoreUnavailable("the database did not answer")


class Desk:
    """A process with funds, and the end of its requests without a journal."""

    def __init__(self, house: House, clock: ManualClock, ids: CountedIds, name: str = "gw_1") -> None:
        self.house, self.clock, self.name = house, clock, name
        self.books = Told(house.database, clock)
        self.funds = EscrowFunds(self.books, clock, ids, name)
        self.position = 0
        self.held: dict[str, Grant] = {}

    async def hold(self, request: str, micro: int, *budgets: Budget) -> Grant:
        now = self.clock.now()
        self.held[request] = await self.funds.hold(HoldRequest(request, "org_1", budgets, micro, now, now + 900))
        return self.held[request]

    async def settle(self, request: str, micro: int) -> None:
        """The request ends and is loaded at once."""
        grant = self.held.pop(request)
        entry = settled(admitted(request, slice=grant.slice, held_micro=grant.micro), micro=micro)
        self.funds.settled(entry, int(entry.grains))
        draws, told = await self.funds.plan((entry,))
        load = Load(self.name, (entry,), self.position, self.position + 1, 0, draws, told)
        self.position += 1
        self.funds.loaded((entry,), draws, await self.books.load(load))
        await self.funds.settle_releases()

    def slices(self) -> dict[str, int]:
        found = self.house.database.read_now(ledger.slices_of, self.name)
        return {one.id: one.amount for one in found}


@pytest.fixture
def house(database: Database) -> House:
    return House(database, RICH)


@pytest.fixture
def ids() -> CountedIds:
    return CountedIds()


@pytest.fixture
def desk(house: House, clock: ManualClock, ids: CountedIds) -> Desk:
    return Desk(house, clock, ids)


async def test_one_transaction_is_enough_for_many_holds(desk: Desk) -> None:
    grants = [await desk.hold(f"req_{number}", 10) for number in range(HOLDS)]
    assert len(desk.books.asked) == 1
    assert grants == [Grant("slice_1", 10)] * HOLDS
    assert desk.slices() == {"slice_1": 10 * HOLDS}
    await desk.hold("req_more", 10)
    assert len(desk.books.asked) == 2


async def test_many_at_once_wait_for_the_one_who_asks(desk: Desk) -> None:
    await asyncio.gather(*(desk.hold(f"req_{number}", 10) for number in range(HOLDS)))
    assert len(desk.books.asked) == 1
    assert granted(desk.funds) == {"slice_1": 10 * HOLDS}


async def test_combinations_of_budgets_have_slices_of_their_own(desk: Desk) -> None:
    one, other = desk.house.budget(50_000), desk.house.budget(60_000, period=Period.MONTH, scope_id="org_1")
    for budgets in ((), (one,), (one, other)):
        await desk.hold(f"req_{len(budgets)}", 10, *budgets)
    assert len(desk.slices()) == 3
    assert desk.house.balance(one.account(NOW)).debits == 0


async def test_what_is_idle_is_shown_as_available(desk: Desk) -> None:
    await desk.hold("req_1", 10)
    await desk.hold("req_2", 10)
    await desk.settle("req_2", 4)
    assert (desk.house.balance().held, desk.house.balance().debits) == (10, 4)
    assert desk.house.balance().available == RICH - 14


@pytest.mark.parametrize("cost", [0, 3, 10, 25])
async def test_a_request_is_charged_its_cost_and_never_more_than_it_held(desk: Desk, cost: int) -> None:
    await desk.hold("req_1", 10)
    await desk.settle("req_1", cost)
    record = desk.house.record("req_1")
    assert (record.charged_micro, record.overrun_micro) == (min(cost, 10), max(0, cost - 10))
    assert desk.slices() == {"slice_1": 10 * HOLDS - min(cost, 10)}
    assert granted(desk.funds) == {}
    desk.house.check()


async def test_a_release_can_be_granted_again(desk: Desk) -> None:
    grant = await desk.hold("req_1", 10 * HOLDS)
    desk.funds.release("req_1", grant)
    assert granted(desk.funds) == {}


async def test_a_window_that_begins_has_a_slice_of_its_own(desk: Desk) -> None:
    day = desk.house.budget(50_000, period=Period.DAY)
    first = await desk.hold("req_1", 10, day)
    desk.clock.advance(86_400)
    second = await desk.hold("req_2", 10, day)
    assert first.slice != second.slice
    assert desk.house.balance(day.account(NOW), at=desk.clock.now()).limit == 50_000
    await desk.settle("req_1", 10)
    await desk.funds.tidy()
    assert list(desk.slices()) == [second.slice], "that of yesterday went back"


async def test_a_slice_that_nobody_uses_is_given_back_and_forgotten(desk: Desk) -> None:
    await desk.hold("req_1", 10)
    desk.clock.advance(IDLE_S)
    await desk.funds.tidy()
    assert desk.slices() == {"slice_1": 10}, "what is granted stays"
    await desk.settle("req_1", 4)
    assert desk.slices() == {}, "and what gets free goes back at once"
    await desk.funds.tidy()
    assert desk.funds._by_id == {}


async def test_at_the_end_everything_is_given_back(desk: Desk) -> None:
    await desk.hold("req_1", 10)
    await desk.settle("req_1", 4)
    await desk.funds.close()
    assert (desk.slices(), desk.house.balance().available) == ({}, RICH - 4)


async def test_nobody_is_refused_while_another_process_has_idle_money(
    desk: Desk, house: House, clock: ManualClock, ids: CountedIds
) -> None:
    other = Desk(house, clock, ids, "gw_2")
    await other.hold("req_1", 10)
    waiting = asyncio.create_task(desk.hold("req_2", RICH - 10))
    async with asyncio.timeout(10):
        while not desk.books.asked:  # noqa: ASYNC110  the database's thread does it
            await asyncio.sleep(0.001)
        while other.slices() != {"slice_1": 10}:
            await other.funds.answer_recalls()
        assert await waiting == Grant("", RICH - 10)


async def test_a_process_that_does_not_answer_is_not_waited_for_for_ever(
    desk: Desk, house: House, clock: ManualClock, ids: CountedIds
) -> None:
    other = Desk(house, clock, ids, "gw_2")
    await other.hold("req_1", 10)
    waiting = asyncio.create_task(desk.hold("req_2", RICH - 10))
    async with asyncio.timeout(10):
        while not waiting.done():
            clock.advance(RECALL_WAIT_S / 4)
            await asyncio.sleep(0.001)
    with pytest.raises(BudgetInFlight):
        await waiting
    assert isinstance(desk.books.asked[-1], PlaceHold)
    assert desk.books.asked[-1].final


async def test_more_than_there_is_with_all_slices_is_refused_at_once(desk: Desk) -> None:
    await desk.hold("req_1", 10)
    asked = len(desk.books.asked)
    with pytest.raises(BudgetSpent):
        await desk.hold("req_2", RICH + 1)
    assert len(desk.books.asked) == asked + 1


async def test_its_own_idle_money_is_no_reason_to_refuse(desk: Desk) -> None:
    await desk.hold("req_1", 10)
    assert await desk.hold("req_2", RICH - 10) == Grant("", RICH - 10)
    assert (desk.slices(), granted(desk.funds)) == ({"slice_1": 10}, {"slice_1": 10})


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_draw_whose_answer_was_lost_leaves_nothing_set_aside(desk: Desk, when: str) -> None:
    setattr(desk.books, when, True)
    with pytest.raises(StoreUnavailable):
        await desk.hold("req_1", 10)
    await desk.funds.settle_releases()
    assert (desk.slices(), desk.house.held(), granted(desk.funds)) == ({}, [], {})


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_return_whose_answer_was_lost_is_made_again(desk: Desk, when: str) -> None:
    await desk.hold("req_1", 10)
    setattr(desk.books, when, True)
    desk.clock.advance(IDLE_S)
    with pytest.raises(StoreUnavailable):
        await desk.funds.tidy()
    await desk.funds.tidy()
    assert desk.slices() == {"slice_1": 10}
    assert [command for command in desk.books.asked if isinstance(command, ReturnSlice)] == [
        ReturnSlice("slice_1", 10)
    ] * 2


async def test_a_slice_that_the_process_does_not_know_goes_back_whole_when_asked_for(
    desk: Desk, house: House, clock: ManualClock, ids: CountedIds
) -> None:
    before = Desk(house, clock, ids)  # the same name: its answers never arrived
    await before.hold("req_0", 10)
    waiting = asyncio.create_task(desk.hold("req_1", RICH))
    async with asyncio.timeout(10):
        assert await waiting == Grant("", RICH)


def told(house: House) -> dict[str, int]:
    rows: Sequence[Any] = house.dump()["ledger_grant"]
    return dict(rows)


async def test_what_is_granted_is_told_only_of_slices_that_are_there(desk: Desk) -> None:
    await desk.hold("req_1", 10)
    await desk.hold("req_2", 10)
    await desk.settle("req_2", 4)
    assert told(desk.house) == {"slice_1": 10}
    await desk.settle("req_1", 4)
    await desk.funds.close()
    assert told(desk.house) == {}
