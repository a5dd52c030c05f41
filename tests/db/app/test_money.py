"""Credit and balances against the ledger itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surplus.app import money, organizations
from surplus.app.errors import BadAmount
from surplus.kit.db import Database, WriteSession
from surplus.kit.errors import IdempotencyConflict
from surplus.kit.ids import CountedIds
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, PlaceHold, PostHold, VoidHold
from surplus.ledger.model import AccountKind, Scope
from tests.stores import Stores, opened

NOW = 1_800_000_000.0
GRAINS_PER_MICRO = 9_000_000 * 10**6


def pay(database: Database, ids: CountedIds, org: str, amount: int, key: str | None = None, now: float = NOW):
    more = {"amount_micro": amount, "note": "", "idempotency_key": key, "now": now}
    return database.write_now(money.add_credit, ids, org=org, **more)


def org_of(database: Database, ids: CountedIds, name: str = "acme", **more: int) -> str:
    return database.write_now(organizations.create, ids, name, **more, now=NOW).id


def test_an_organization_without_its_wallet_does_not_come_to_be(database: Database):
    ids = CountedIds()
    with pytest.raises(BadAmount):
        org_of(database, ids, credit_micro=-1)
    assert org_of(database, ids, credit_micro=1)


def test_what_is_paid_in_comes_from_payments_and_the_books_balance(database: Database):
    ids = CountedIds()
    org = org_of(database, ids, credit_micro=3, limit_micro=2)
    assert pay(database, ids, org, 4) == money.Funds(credit=9, held=0, settled=0)
    assert database.read_now(ledger.balance, "payments", now=NOW).balance == -7
    assert database.read_now(ledger.verify).ok


def test_a_repeat_long_after_is_still_the_same_payment(database: Database):
    ids = CountedIds()
    org = org_of(database, ids)
    for later in (0.0, 1.0, 1e8):
        assert pay(database, ids, org, 4, "k", NOW + later).credit == 4
    with pytest.raises(IdempotencyConflict) as caught:
        pay(database, ids, org, 5, "k", NOW)
    assert caught.value.param == "amount"
    assert pay(database, ids, org, 4, "opening").credit == 8


def test_what_was_never_opened_is_empty(database: Database):
    assert database.read_now(money.funds, "org_9", now=NOW) == money.Funds(0, 0, 0)
    assert database.read_now(money.entries, "org_9", after_seq=0, limit=9) == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.integers(1, 50)),
        st.tuples(st.just("limit"), st.integers(0, 50)),
        st.tuples(st.just("hold"), st.integers(0, 60)),
        st.tuples(st.just("post"), st.integers(0, 80)),
        st.tuples(st.just("void"), st.integers(0, 9)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(plan=steps)
def test_credit_is_available_and_held_and_settled_whatever_happens(stores: Stores, plan: list[tuple[str, int]]):
    with opened(stores) as database:
        _check(database, plan)


def _check(database: Database, plan: list[tuple[str, int]]) -> None:
    ids = CountedIds()
    org = org_of(database, ids)
    wallet = Scope(money.wallet(org), AccountKind.WALLET, 0)
    paid, limit, settled = 0, 0, 0
    held: dict[str, int] = {}
    for verb, amount in plan:
        if verb == "pay":
            pay(database, ids, org, amount)
            paid += amount
        elif verb == "limit":
            database.write_now(money.set_credit_limit, ids, org=org, limit_micro=amount, now=NOW)
            limit = amount
        elif verb == "hold" and amount <= paid + limit - sum(held.values()) - settled:
            name = ids.new("req")
            run(database, PlaceHold(name, wallet, (), amount, NOW + 60, name))
            held[name] = amount
        elif verb in ("post", "void") and held:
            oldest = next(iter(held))
            cap = held.pop(oldest)
            if verb == "post":
                run(database, PostHold(oldest, amount * GRAINS_PER_MICRO, "revenue:tokens", oldest, NOW))
                settled += min(amount, cap)
            else:
                run(database, VoidHold(oldest, ""))
        found = database.read_now(money.funds, org, now=NOW)
        assert found == money.Funds(credit=paid + limit, held=sum(held.values()), settled=settled)
        assert found.available + found.held + found.settled == found.credit
    changes = [one.change_micro for one in database.read_now(money.entries, org, after_seq=0, limit=100)]
    assert sum(changes) == paid - settled
    assert database.read_now(ledger.verify).ok


def run(database: Database, command: Command) -> None:
    def work(session: WriteSession) -> None:
        (outcome,) = ledger.apply(session, [command], now=NOW)
        assert not isinstance(outcome, Exception), outcome

    database.write_now(work)
