from dataclasses import dataclass
from enum import Enum, auto

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surplus.billing import service
from surplus.billing.errors import BadMonth, UnknownPriceVersion
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.billing.statements import Statement
from surplus.kit.clock import parse_iso
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.kit.money import GRAINS_PER_MICRO, ceiling_micro
from surplus.ledger import service as ledger
from surplus.ledger.commands import Command, PlaceHold, PostHold, Scope
from surplus.ledger.model import AccountKind, Outcome, Posted
from surplus.metering import service as metering
from surplus.metering.usage import TokenUsage
from tests.db.metering.records import a_record, usages

NOVEMBER = parse_iso("2026-11-30T23:00:00Z")
DECEMBER = parse_iso("2026-12-01T00:00:00Z")

prices = st.fixed_dictionaries(
    dict.fromkeys(TokenClass, st.integers(0, 20_000_000).map(lambda micro: Price(micro * 10**6, 1_000_000)))
)


class Ending(Enum):
    """What became of a hold: it covered the cost, covered half of it, or ended before the cost was known."""

    COVERED = auto()
    SHORT = auto()
    LATE = auto()


@dataclass(frozen=True)
class Call:
    """A request to be: admitted `after` seconds after the one before."""

    usage: TokenUsage
    model: str
    after: float
    ending: Ending


calls = st.lists(
    st.builds(Call, usages(), st.sampled_from(["a", "b"]), st.floats(0, 3000), st.sampled_from(Ending)), max_size=6
)


class Shop:
    """An organization that calls models, each call held, posted and recorded as the gateway has it done."""

    ids = CountedIds()
    """Shared by all shops, which may have one price book and one ledger."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.org = self.ids.new("org")
        self.now = NOVEMBER

    def publish(self, model: str, each: dict[TokenClass, Price], effective_from: float) -> PriceSheet:
        sku = f"{self.org}/{model}"
        return self.database.write_now(
            service.publish_prices, self.ids, sku, each, effective_from=effective_from, now=NOVEMBER
        )

    def apply(self, command: Command, now: float) -> Outcome:
        (outcome,) = self.database.write_now(ledger.apply, [command], now=now)
        assert not isinstance(outcome, Exception), outcome
        return outcome

    def call(self, call: Call, sheet: PriceSheet) -> None:
        self.now += call.after
        request = self.ids.new("req")
        grains = sheet.grains(call.usage)
        most = ceiling_micro(grains)
        held = most // 2 if call.ending is Ending.SHORT else most
        wallet = Scope(f"wallet:{self.org}", AccountKind.WALLET, None)
        self.apply(PlaceHold(request, wallet, (), held, self.now + 10, request), self.now)
        ended_at = self.now + (20 if call.ending is Ending.LATE else 5)
        posted = self.apply(PostHold(request, grains, f"revenue:{self.org}", request, ended_at), ended_at)
        assert isinstance(posted, Posted)
        record = a_record(
            request,
            org=self.org,
            model=call.model,
            sku=sheet.sku,
            price_version=sheet.version,
            usage=call.usage,
            cost_micro=grains // GRAINS_PER_MICRO,
            cost_rest_grains=grains % GRAINS_PER_MICRO,
            charged_micro=posted.charged_micro,
            overrun_micro=posted.overrun_micro,
            started_at=self.now,
            ended_at=ended_at,
        )
        self.database.write_now(metering.record, [record, record])
        self.now = ended_at

    def statement(self, month: str | None = None) -> Statement:
        return self.database.read_now(service.statement, self.org, month=month)

    def wallet(self) -> tuple[int, int]:
        """What the ledger took from the wallet, and its carry."""
        balance = self.database.read_now(ledger.balance, f"wallet:{self.org}", now=self.now)
        return balance.debits, balance.carry_grains


def check_sums(statement: Statement) -> None:
    exact = sum(line.grains for line in statement.lines)
    assert exact == statement.exact_grains
    paid = statement.charged_micro + statement.overrun_micro
    assert exact == paid * GRAINS_PER_MICRO + statement.carry_grains
    adjusted = exact + sum(adjustment.grains for adjustment in statement.adjustments)
    assert adjusted == statement.charged_micro * GRAINS_PER_MICRO


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), calls)
def test_a_statement_sums_to_what_the_ledger_took_overrun_and_carry(
    database: Database, data: st.DataObject, each: list[Call]
):
    shop = Shop(database)
    book = {
        model: [shop.publish(model, data.draw(prices), NOVEMBER), shop.publish(model, data.draw(prices), DECEMBER)]
        for model in ("a", "b")
    }
    for call in each:
        shop.call(call, book[call.model][shop.now + call.after >= DECEMBER])
    whole, november, december = shop.statement(), shop.statement("2026-11"), shop.statement("2026-12")
    for statement in (whole, november, december):
        check_sums(statement)
    if each:
        assert shop.wallet() == (whole.charged_micro, whole.carry_grains)
    assert whole.requests == len(each) == november.requests + december.requests
    assert whole.exact_grains == november.exact_grains + december.exact_grains
    assert whole.charged_micro == november.charged_micro + december.charged_micro
    assert sum(line.quantity for line in whole.lines) == sum(call.usage.input + call.usage.output for call in each)


def test_p2_a_statement_keeps_its_prices_when_new_ones_come(database: Database):
    shop = Shop(database)
    cheap = dict.fromkeys(TokenClass, Price.per_million("0.0175"))
    sheet = shop.publish("a", cheap, NOVEMBER)
    for _ in range(3):
        shop.call(Call(TokenUsage(uncached=7, output=3), "a", 0, Ending.COVERED), sheet)
    before = shop.statement("2026-11")
    shop.publish("a", dict.fromkeys(TokenClass, Price.per_million("99")), NOVEMBER + 0.5)
    assert shop.statement("2026-11") == before
    assert {line.unit_price for line in before.lines} == {"0.0175"}


def test_lines_are_kept_apart_by_price_version(database: Database):
    shop = Shop(database)
    old = shop.publish("a", dict.fromkeys(TokenClass, Price.per_million("1")), NOVEMBER)
    new = shop.publish("a", dict.fromkeys(TokenClass, Price.per_million("2")), NOVEMBER + 60)
    shop.call(Call(TokenUsage(output=5), "a", 0, Ending.COVERED), old)
    shop.call(Call(TokenUsage(output=5), "a", 60, Ending.COVERED), new)
    statement = shop.statement("2026-11")
    assert [(line.price_version, line.quantity, line.unit_price) for line in statement.lines] == [
        (old.version, 5, "1.00"),
        (new.version, 5, "2.00"),
    ]
    assert statement.charged_micro == 15


def test_one_organization_sees_nothing_of_another(database: Database):
    shop, other = Shop(database), Shop(database)
    sheet = shop.publish("a", dict.fromkeys(TokenClass, Price.per_million("1")), NOVEMBER)
    shop.call(Call(TokenUsage(output=5), "a", 0, Ending.COVERED), sheet)
    assert (other.statement().requests, other.statement().lines) == (0, ())


def test_usage_at_an_unknown_price_makes_no_statement(database: Database):
    database.write_now(metering.record, [a_record("req_lost", price_version="price_lost")])
    with pytest.raises(UnknownPriceVersion, match="price_lost"):
        database.read_now(service.statement, "org_1")


def test_a_statement_is_of_a_month(database: Database):
    with pytest.raises(BadMonth):
        database.read_now(service.statement, "org_1", month="November")
