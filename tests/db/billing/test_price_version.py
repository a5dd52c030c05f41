import pytest

from surplus.billing import service
from surplus.billing.errors import UnknownPriceVersion
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds

NOW = 1_800_000_000.0


@pytest.fixture
def sheets(database: Database) -> dict[str, PriceSheet]:
    """Three versions: two of `tiny`, the second in force, and one of `large`."""
    ids = CountedIds()
    published = (("tiny", "1", NOW), ("tiny", "2", NOW + 60), ("large", "9", NOW))
    made = [
        database.write_now(
            service.publish_prices,
            ids,
            sku,
            dict.fromkeys((TokenClass.INPUT, TokenClass.OUTPUT), Price.per_million(dollars)),
            effective_from=start,
            now=NOW,
        )
        for sku, dollars, start in published
    ]
    return {sheet.version: sheet for sheet in made}


def test_a_version_is_found_though_a_later_one_is_in_force(database: Database, sheets: dict[str, PriceSheet]):
    for version, sheet in sheets.items():
        assert database.read_now(service.price_sheet, sheet.sku, version) == sheet


@pytest.mark.parametrize(("sku", "version"), [("tiny", "price_9"), ("large", "price_1"), ("", "")])
def test_a_version_of_another_sku_or_of_none_is_refused(
    database: Database, sheets: dict[str, PriceSheet], sku: str, version: str
):
    with pytest.raises(UnknownPriceVersion) as caught:
        database.read_now(service.price_sheet, sku, version)
    assert caught.value.detail == {"sku": sku, "version": version}
