"""Loading: settlements become charges and records, each exactly once, and budgets are told of once."""

from collections.abc import Sequence
from typing import Any

import pytest

from surplus.billing import service as billing
from surplus.billing.budgets import Budget, BudgetScope, Period
from surplus.gateway import service, store
from surplus.gateway.entries import Settled
from surplus.gateway.ports import Load, Loaded
from surplus.gateway.service import BUDGET_THRESHOLD, JournalMoved
from surplus.kit.db import Database
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger.service import OVERRUN_TOPIC
from surplus.metering.model import Outcome
from tests.unit.gateway.house import GATEWAY, House, drop
from tests.unit.gateway.parts import NOW, admitted, settled

DAY = 86_400.0


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def load(house: House, *entries: Settled, now: float = NOW, gateway: str = GATEWAY, **more: Any) -> Loaded:
    """Load what follows in the journal, unless another part of it is named."""
    since = house.database.read_now(store.progress, gateway).position
    fields: dict[str, Any] = {"since": since, "position": since + len(entries) + 1, "open_from": 0, **more}
    return house.database.write_now(service.load, Load(gateway, entries, **fields), now=now)


def request(
    house: House,
    number: int,
    micro: int,
    *budgets: Budget,
    key: str = "key_1",
    at: float = NOW,
    hold: int | None = None,
) -> Settled:
    """A request that holds and costs `micro`, ready to be loaded."""
    name = f"req_{number}"
    house.hold(name, micro if hold is None else hold, *budgets, at=at)
    return settled(admitted(name, key=key, at=at), micro=micro)


def percents(house: House) -> list[tuple[str, int]]:
    return [(body["budget"], body["percent"]) for body in house.told(BUDGET_THRESHOLD)]


def test_a_settlement_becomes_a_charge_a_record_and_a_position(house: House) -> None:
    budget = house.budget(1000)
    entry = request(house, 1, 90, budget, hold=100)
    load(house, entry, position=77, open_from=66)
    assert (house.balance().debits, house.balance().held) == (90, 0)
    assert house.balance(budget.account(NOW)).debits == 90
    record = house.record("req_1")
    assert (record.charged_micro, record.overrun_micro, record.cost_micro) == (90, 0, 90)
    assert house.database.read_now(store.progress, GATEWAY) == store.Progress(77, 66)
    house.check([entry])


def test_a_settlement_that_is_loaded_again_changes_nothing(house: House) -> None:
    budget = house.budget(100)
    entries = [request(house, number, 30, budget, hold=33) for number in (1, 2, 3)]
    part = {"since": 0, "position": 9}
    assert load(house, *entries, **part).first
    before = house.dump()
    for again in (entries, entries[::-1], [entries[1], entries[1]], []):
        assert load(house, *again, **part) == Loaded(first=False)
    assert house.dump() == before
    assert percents(house) == [(budget.id, 50), (budget.id, 80)]


def test_settlements_under_a_lost_position_are_not_charged_again(house: House) -> None:
    """Holds of the ledger itself end once, whatever the position says."""
    entries = [request(house, number, 30, hold=33) for number in (1, 2, 3)]
    load(house, *entries, since=0, position=9)
    before = house.dump()
    house.database.write_now(drop, "gateway_journal")
    load(house, *entries, since=0, position=9)
    assert house.dump() == before


@pytest.mark.parametrize(("since", "position"), [(0, 8), (0, 10), (8, 10), (10, 11)])
def test_another_part_of_a_journal_than_the_next_is_refused(house: House, since: int, position: int) -> None:
    load(house, request(house, 1, 30), since=0, position=9)
    entry = request(house, 2, 30)
    before = house.dump()
    with pytest.raises(JournalMoved) as caught:
        load(house, entry, since=since, position=position)
    assert (GATEWAY in caught.value.message, caught.value.retryable) == (True, False)
    assert house.dump() == before


def test_a_settlement_that_comes_twice_in_one_batch_counts_once(house: House) -> None:
    entry = request(house, 1, 60, house.budget(100))
    load(house, entry, entry)
    assert house.balance().debits == 60
    assert len(percents(house)) == 1
    house.check([entry])


def test_a_load_that_fails_leaves_no_trace(house: House) -> None:
    entry = request(house, 1, 60, house.budget(100))
    before = house.dump()

    def interrupted(session: object) -> None:
        service.load(session, Load(GATEWAY, (entry,), 0, 9, 9), now=NOW)  # type: ignore[arg-type]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        house.database.write_now(interrupted)
    assert house.dump() == before


def test_what_costs_more_than_was_held_is_the_operator_s_loss(house: House) -> None:
    load(house, request(house, 1, 150, hold=100))
    record = house.record("req_1")
    assert (record.charged_micro, record.overrun_micro, record.cost_micro) == (100, 50, 150)
    assert house.balance().debits == 100
    assert [body["overrun_micro"] for body in house.told(OVERRUN_TOPIC)] == [50]
    house.check()


def test_parts_of_a_micro_dollar_are_carried_to_the_next_charge(house: House) -> None:
    third = GRAINS_PER_MICRO // 3
    entries: list[Settled] = []
    for number in range(7):
        house.hold(f"req_{number}", 2)
        entries.append(settled(admitted(f"req_{number}"), micro=1, rest=third))
    for entry in entries:
        load(house, entry)
    assert house.balance().debits == (7 * (GRAINS_PER_MICRO + third)) // GRAINS_PER_MICRO == 9
    assert sorted(record.charged_micro for record in house.records()) == [1, 1, 1, 1, 1, 2, 2]
    house.check(entries)


def test_a_request_whose_hold_is_unknown_is_recorded_and_not_charged(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    entry = settled(admitted("req_lost"), micro=50)
    other = request(house, 1, 10)
    load(house, entry, other)
    lost = house.record("req_lost")
    assert (lost.charged_micro, lost.overrun_micro, lost.cost_micro) == (0, 0, 50)
    assert house.balance().debits == 10
    assert any("could not be charged" in record.message for record in caplog.records)
    house.check([entry, other])


def test_a_hold_that_expired_before_it_was_loaded_is_the_operator_s_loss(house: House) -> None:
    load(house, request(house, 1, 90), now=NOW + DAY)
    record = house.record("req_1")
    assert (record.charged_micro, record.overrun_micro) == (0, 90)
    house.check()


def test_an_interrupted_request_has_a_record_like_any_other(house: House) -> None:
    house.hold("req_1", 50)
    load(house, settled(admitted("req_1"), micro=7, outcome=Outcome.INTERRUPTED, degraded=True))
    record = house.record("req_1")
    assert (record.outcome, record.degraded, record.charged_micro) == (Outcome.INTERRUPTED, True, 7)


def test_positions_of_gateways_are_their_own(house: House) -> None:
    load(house, position=5, open_from=5)
    load(house, gateway="other", position=9, open_from=7)
    assert house.database.read_now(store.progress, GATEWAY) == store.Progress(5, 5)
    assert house.database.read_now(store.progress, "other") == store.Progress(9, 7)
    assert house.database.read_now(store.progress, "third") == store.Progress(0, 0)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([49], []),
        ([50], [50]),
        ([49, 1], [50]),
        ([30, 30, 30, 10], [50, 80, 100]),
        ([100], [50, 80, 100]),
        ([79, 1, 20], [50, 80, 100]),
    ],
)
def test_a_budget_that_crosses_a_threshold_says_so_once(house: House, steps: Sequence[int], told: list[int]) -> None:
    budget = house.budget(100)
    for number, micro in enumerate(steps):
        load(house, request(house, number, micro, budget))
        load(house)
    assert percents(house) == [(budget.id, percent) for percent in told]


def test_a_threshold_message_says_whose_budget_it_is(house: House) -> None:
    budget = house.budget(100, BudgetScope.KEY, "key_1", hard=False)
    load(house, request(house, 1, 55, budget))
    assert house.told(BUDGET_THRESHOLD) == [
        {"budget": budget.id, "org": "org_1", "scope": "key", "percent": 50, "hard": False}
    ]


def test_keys_that_share_a_budget_cross_its_threshold_together_once(house: House) -> None:
    budget = house.budget(100)
    load(house, request(house, 0, 40, budget))
    entries = [request(house, number, 6, budget, key=f"key_{number}") for number in (1, 2)]
    load(house, *entries)
    assert percents(house) == [(budget.id, 50)]


def test_many_small_shares_cross_a_threshold_that_none_crosses_alone(house: House) -> None:
    budget = house.budget(100)
    load(house, request(house, 0, 45, budget))
    load(house, *(request(house, number, 2, budget, key=f"key_{number}") for number in range(1, 6)))
    assert percents(house) == [(budget.id, 50)]


def test_each_budget_over_a_request_is_told_of(house: House) -> None:
    budgets = [house.budget(100), house.budget(60, BudgetScope.KEY, "key_1")]
    load(house, request(house, 1, 50, *budgets))
    assert sorted(percents(house)) == sorted([(budgets[0].id, 50), (budgets[1].id, 50), (budgets[1].id, 80)])


def test_a_budget_counts_in_the_window_of_the_admission(house: House) -> None:
    budget = house.budget(100, period=Period.DAY)
    midnight = NOW + 15 * 3600
    before, after = midnight - 10, midnight + 10
    load(house, request(house, 1, 60, budget, at=before), request(house, 2, 70, budget, at=after), now=after)
    assert [house.balance(budget.account(at), at=after).debits for at in (before, after)] == [60, 70]
    assert percents(house) == [(budget.id, 50), (budget.id, 50)]


def test_a_budget_that_a_request_was_not_held_against_is_not_told_of(house: House) -> None:
    old = request(house, 1, 90)
    budget = house.budget(100)
    load(house, old)
    assert percents(house) == []
    first = request(house, 2, 10, budget)
    second = request(house, 3, 60)
    load(house, first, second)
    assert percents(house) == [], "the budget has seen 10"


def test_a_budget_that_was_deleted_is_not_told_of(house: House) -> None:
    budget = house.budget(100)
    entry = request(house, 1, 60, budget)
    house.database.write_now(billing.delete_budget, house.ids, org="org_1", budget_id=budget.id, now=NOW)
    load(house, entry)
    assert percents(house) == []
    assert house.balance(budget.account(NOW)).debits == 60
