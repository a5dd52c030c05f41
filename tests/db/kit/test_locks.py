"""Writers in several processes: a read that a write rests on stays true. Two databases on one store stand for them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from surplus.billing import service as billing
from surplus.billing.budgets import BudgetScope, Period
from surplus.billing.errors import PriceExists
from surplus.billing.rating import Price, TokenClass
from surplus.identity import service as identity
from surplus.identity.errors import NameTaken
from surplus.kit import outbox
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database, WriteSession, locks
from surplus.kit.ids import RandomIds
from surplus.ledger import service as ledger
from surplus.ledger.commands import OpenAccount, Transfer
from surplus.ledger.model import AccountKind, Transferred
from surplus.metering import service as metering
from surplus.serving import service as serving
from surplus.serving.errors import DeploymentExists
from surplus.serving.spec import DeploymentSpec
from tests.db.metering.records import NOON, a_record
from tests.stores import PostgresStores, opened

NOW = 1_800_000_000.0
IDS = RandomIds(ManualClock(NOW))
TIMES = 40


@pytest.fixture
def other(database: Database) -> Iterator[Database]:
    """The same store, as another process has it."""
    other = Database(database.location)
    yield other
    other.close()


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """Do all of it at one time; returns what each returned, or the exception that it raised."""
    ready = threading.Barrier(len(work))

    def run(one: Callable[[], Any]) -> Any:
        ready.wait(10)
        try:
            return one()
        except Exception as error:  # noqa: BLE001  it is what the test asks about
            return error

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


def test_the_ledger_is_one_chain_whoever_appends(database: Database, other: Database) -> None:
    opening = [OpenAccount("open", "wallet:a", AccountKind.WALLET, None)]
    database.write_now(ledger.apply, opening, now=NOW)

    def pay(store: Database, name: str) -> None:
        for number in range(TIMES):
            transfer = Transfer(f"{name} {number}", "wallet:a", "payments", 1, "", "", NOW)
            (outcome,) = store.write_now(ledger.apply, [transfer], now=NOW)
            assert isinstance(outcome, Transferred), outcome

    assert at_once(lambda: pay(database, "one"), lambda: pay(other, "two")) == [None, None]
    found = database.read_now(ledger.verify)
    assert found.ok, found.problems
    assert database.read_now(ledger.balance, "wallet:a", now=NOW).debits == 2 * TIMES


def test_messages_are_numbered_without_a_gap_and_taken_by_one_process(database: Database, other: Database) -> None:
    def publish(store: Database) -> None:
        for number in range(TIMES):
            store.write_now(outbox.publish, "topic", {"number": number}, now=NOW)

    def take(session: WriteSession) -> list[int]:
        found = [message.seq for message in outbox.claim(session, "somebody", limit=3)]
        if found:
            outbox.mark(session, "somebody", found[-1])
        return found

    def consume(store: Database) -> list[int]:
        taken: list[int] = []
        while some := store.write_now(take):
            taken += some
        return taken

    assert at_once(lambda: publish(database), lambda: publish(other)) == [None, None]
    one, two = at_once(lambda: consume(database), lambda: consume(other))
    assert sorted(one + two) == list(range(1, 2 * TIMES + 1))


def test_records_that_two_processes_load_count_once(database: Database, other: Database) -> None:
    batches = [[a_record(f"req_{n}", started_at=NOON + n) for n in range(m, m + 20)] for m in range(0, 200, 10)]

    def load(store: Database, order: int) -> int:
        return sum(store.write_now(metering.record, batch) for batch in batches[::order])

    assert sum(at_once(lambda: load(database, 1), lambda: load(other, -1))) == 210
    assert database.read_now(metering.totals, org="org_1").requests == 210


def test_one_of_two_gets_the_name_the_price_and_the_id(database: Database, other: Database) -> None:
    prices = {name: Price.per_million("1") for name in TokenClass}
    spec = DeploymentSpec(id="the-one", model="m", engine="vllm", url="http://127.0.0.1:1/v1", context=100)

    def organization(store: Database) -> str:
        return store.write_now(identity.create_organization, IDS, "Acme", now=NOW).id

    def price(store: Database) -> str:
        return store.write_now(billing.publish_prices, IDS, "m", prices, effective_from=NOW, now=NOW).version

    def deployment(store: Database) -> str:
        return store.write_now(serving.create_deployment, IDS, spec, now=NOW).id

    for create, refused in ((organization, NameTaken), (price, PriceExists), (deployment, DeploymentExists)):
        outcomes = at_once(lambda c=create: c(database), lambda c=create: c(other))
        assert sorted(isinstance(outcome, refused) for outcome in outcomes) == [False, True], outcomes


def test_two_operators_first_keys_and_one_budget(database: Database, other: Database) -> None:
    def ensure(store: Database) -> object:
        return store.write_now(identity.ensure_operator_key, IDS, now=NOW)

    keys = at_once(lambda: ensure(database), lambda: ensure(other))
    assert sorted(key is None for key in keys) == [False, True], keys

    def budget(store: Database, cap: int) -> str:
        spec = {"org": "org_1", "scope": BudgetScope.ORGANIZATION, "scope_id": "org_1", "period": Period.MONTH}
        return store.write_now(billing.set_budget, IDS, **spec, cap_micro=cap, hard=True, now=NOW).id

    one, two = at_once(lambda: budget(database, 1), lambda: budget(other, 2))
    assert one == two


def test_locks_have_an_order_that_no_transaction_can_break(database: Database) -> None:
    def wrong(session: WriteSession) -> None:
        session.exclusive("2 second")
        session.exclusive("1 first")

    def right(session: WriteSession) -> None:
        for name in ("1 first", "2 second", "1 first"):  # what is held is held
            session.exclusive(name)

    with pytest.raises(AssertionError, match="'1 first' comes before '2 second'"):
        database.write_now(wrong)
    database.write_now(right)


@pytest.mark.slow
def test_a_lock_is_kept_to_the_end_of_its_transaction_and_by_name(postgres: PostgresStores) -> None:
    with opened(postgres) as one:
        two = Database(one.location)
        inside, leave = threading.Event(), threading.Event()
        order: list[str] = []

        def first(session: WriteSession) -> None:
            session.exclusive("a")
            inside.set()
            assert leave.wait(10)
            order.append("first")

        def second(session: WriteSession) -> None:
            session.exclusive("a")
            order.append("second")

        with ThreadPoolExecutor(2) as threads:
            running = threads.submit(one.write_now, first)
            assert inside.wait(10)
            waiting = threads.submit(two.write_now, second)
            two_b = Database(one.location)
            two_b.write_now(WriteSession.exclusive, "b")  # another name waits for nobody
            two_b.close()
            assert not waiting.done()
            leave.set()
            running.result(10)
            waiting.result(10)
        assert order == ["first", "second"]
        two.close()


def test_the_number_of_a_name_never_changes() -> None:
    assert locks.number("5 ledger") == -2842302277008138768
    numbers = [locks.number(str(n)) for n in range(100)]
    assert -(2**63) <= min(numbers) < 0 < max(numbers) < 2**63
