import pytest

from surplus.billing.errors import BadMonth, UnknownPriceVersion
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.billing.statements import Adjustment, AdjustmentName, draft, month_range
from surplus.kit.clock import iso
from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.model import PricedTotals, Totals
from surplus.metering.usage import TokenUsage

SHEET = PriceSheet(
    "tiny",
    "price_1",
    0.0,
    {
        TokenClass.INPUT: Price.per_million("0.1"),
        TokenClass.CACHE_READ: Price.per_million("0.0175"),
        TokenClass.CACHE_WRITE: Price.per_million("0.1"),
        TokenClass.OUTPUT: Price.per_million("0.4"),
    },
)
USAGE = TokenUsage(uncached=1000, cache_read=100, output=10)  # 100 + 1.75 + 4 = 105.75 micro-dollars


def consumed(*, charged: int, overrun: int = 0, cost: int | None = None, version: str = "price_1") -> PricedTotals:
    grains = SHEET.grains(USAGE) if cost is None else cost
    totals = Totals(2, 0, USAGE, 0, grains, charged, overrun)
    return PricedTotals("tiny", "tiny", version, totals)


def test_a_statement_has_a_line_for_each_class_that_was_used():
    statement = draft("org_1", "2026-11", [consumed(charged=105)], {"price_1": SHEET})
    assert [(line.token_class, line.quantity, line.unit_price) for line in statement.lines] == [
        ("input", 1000, "0.10"),
        ("cache_read", 100, "0.0175"),
        ("output", 10, "0.40"),
    ]
    assert statement.exact_grains * 100 == 10_575 * GRAINS_PER_MICRO
    assert (statement.requests, statement.charged_micro, statement.month) == (2, 105, "2026-11")


def adjusted(part: PricedTotals) -> tuple[Adjustment, ...]:
    statement = draft("org_1", None, [part], {"price_1": SHEET})
    total = statement.exact_grains + sum(adjustment.grains for adjustment in statement.adjustments)
    assert total == statement.charged_micro * GRAINS_PER_MICRO
    return statement.adjustments


def test_every_difference_to_the_charge_has_a_name():
    quarter = GRAINS_PER_MICRO // 4
    assert adjusted(consumed(charged=105)) == (Adjustment(AdjustmentName.CARRIED_ON, -3 * quarter),)
    assert adjusted(consumed(charged=106)) == (Adjustment(AdjustmentName.CARRIED_IN, quarter),)
    assert adjusted(consumed(charged=100, overrun=5)) == (
        Adjustment(AdjustmentName.OVERRUN, -5 * GRAINS_PER_MICRO),
        Adjustment(AdjustmentName.CARRIED_ON, -3 * quarter),
    )
    assert adjusted(consumed(charged=105, cost=105 * GRAINS_PER_MICRO)) == (
        Adjustment(AdjustmentName.METERED_OTHERWISE, -3 * quarter),
    )


def test_an_exact_charge_needs_no_adjustment():
    four = PricedTotals("tiny", "tiny", "price_1", Totals(1, 0, TokenUsage(output=10), 0, 4 * GRAINS_PER_MICRO, 4, 0))
    assert adjusted(four) == ()


def test_p2_usage_at_a_price_that_is_not_in_the_book_makes_no_statement():
    with pytest.raises(UnknownPriceVersion, match="price_9"):
        draft("org_1", None, [consumed(charged=1, version="price_9")], {"price_1": SHEET})


def test_a_statement_of_nothing_is_empty():
    statement = draft("org_1", "2026-11", [], {})
    assert (statement.lines, statement.adjustments, statement.requests, statement.charged_micro) == ((), (), 0, 0)


@pytest.mark.parametrize(
    ("month", "start", "end"),
    [
        ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
    ],
)
def test_months_are_half_open_and_in_utc(month: str, start: str, end: str):
    assert tuple(map(iso, month_range(month))) == (start, end)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "2026-11-01", "0000-01", "9999-12", "\u0662026-11"]
)
def test_what_is_no_month_is_refused(text: str):
    with pytest.raises(BadMonth, match="write it as 2026-11"):
        month_range(text)
