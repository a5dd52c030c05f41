import pytest

from surplus.billing import service
from surplus.billing.errors import BadPrice, PriceExists
from surplus.billing.prices import price_in_force
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.kit import revisions
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.metering.usage import TokenUsage

NOW = 1_800_000_000.0
USAGE = TokenUsage(uncached=1000, cache_read=300, output=50)


def publish(database: Database, ids: CountedIds, dollars: str, *, start: float = NOW, sku: str = "tiny") -> PriceSheet:
    prices = {TokenClass.INPUT: Price.per_million(dollars), TokenClass.OUTPUT: Price.per_million("2")}
    return database.write_now(service.publish_prices, ids, sku, prices, effective_from=start, now=NOW)


@pytest.fixture
def ids() -> CountedIds:
    return CountedIds()


def test_p2_a_published_sheet_reads_back_as_it_was_for_ever(database: Database, ids: CountedIds):
    first = publish(database, ids, "0.0175")
    cost = first.grains(USAGE)
    publish(database, ids, "5", start=NOW + 60)
    found, _ = database.read_now(service.history, "tiny")
    assert found == first
    assert found.grains(USAGE) == cost
    assert found.currency == "USD"


def test_p1_the_price_of_an_instant_is_the_last_that_began(database: Database, ids: CountedIds):
    for start, dollars in ((NOW + 60, "2"), (NOW, "1"), (NOW + 120, "3")):
        publish(database, ids, dollars, start=start)
    sheets = database.read_now(service.history, "tiny")
    assert [sheet.effective_from for sheet in sheets] == [NOW, NOW + 60, NOW + 120]
    at = {
        instant: price_in_force(sheets, instant)
        for instant in (NOW - 1, NOW, NOW + 59.9, NOW + 60, NOW + 119, NOW + 120, NOW + 9999)
    }
    assert [str(sheet.prices[TokenClass.INPUT]) if sheet else None for sheet in at.values()] == [
        None,
        "1.00",
        "1.00",
        "2.00",
        "2.00",
        "3.00",
        "3.00",
    ]


def test_the_sheets_of_now_leave_out_what_is_superseded_and_keep_what_is_to_come(database: Database, ids: CountedIds):
    publish(database, ids, "1")
    publish(database, ids, "2", start=NOW + 60)
    publish(database, ids, "3", start=NOW + 120)
    publish(database, ids, "9", start=NOW + 500, sku="coming")

    def current(now: float) -> list[str]:
        return [sheet.version for sheet in database.read_now(service.price_sheets, now=now)]

    assert current(NOW + 59) == ["price_4", "price_1", "price_2", "price_3"]
    assert current(NOW + 60) == ["price_4", "price_2", "price_3"]
    assert current(NOW + 999) == ["price_4", "price_3"]


def test_p2_a_second_price_from_the_same_instant_is_refused(database: Database, ids: CountedIds):
    first = publish(database, ids, "1")
    with pytest.raises(PriceExists, match="choose a later instant"):
        publish(database, ids, "2")
    publish(database, ids, "2", sku="other")
    assert database.read_now(service.history, "tiny") == [first]


def test_p2_what_was_used_is_not_priced_again(database: Database, ids: CountedIds):
    with pytest.raises(BadPrice, match="before now"):
        publish(database, ids, "1", start=NOW - 1)
    assert database.read_now(service.history, "tiny") == []


def test_an_implausible_price_is_published_only_by_force(database: Database, ids: CountedIds):
    dear = dict.fromkeys((TokenClass.INPUT, TokenClass.OUTPUT), Price.per_million("100000"))
    with pytest.raises(BadPrice, match="per million tokens"):
        database.write_now(service.publish_prices, ids, "tiny", dear, effective_from=NOW, now=NOW)
    forced = database.write_now(service.publish_prices, ids, "tiny", dear, effective_from=NOW, now=NOW, force=True)
    assert database.read_now(service.history, "tiny") == [forced]


def test_publishing_tells_the_caches_and_a_refusal_does_not(database: Database, ids: CountedIds):
    publish(database, ids, "1")
    assert database.read_now(revisions.read) == {"billing": 1}
    with pytest.raises(PriceExists):
        publish(database, ids, "1")
    assert database.read_now(revisions.read) == {"billing": 1}
    publish(database, ids, "1", start=NOW + 1)
    assert database.read_now(revisions.read) == {"billing": 2}
