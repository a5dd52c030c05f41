import pytest

from surplus.billing.errors import BadPrice, Unpriced
from surplus.billing.prices import check_start, complete
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.kit.errors import BadRequest, Unavailable
from surplus.kit.money import GRAINS_PER_MICRO, MAX_PRICE_PICO, PICO_PER_DOLLAR
from surplus.metering.usage import TokenUsage

NOW = 1_800_000_000.0
IN_OUT = {TokenClass.INPUT: Price.per_million("0.10"), TokenClass.OUTPUT: Price.per_million("0.40")}


def test_caches_cost_what_input_costs_unless_said_otherwise():
    cheap = Price.per_million("0.01")
    assert complete("tiny", IN_OUT, force=False) == {
        TokenClass.INPUT: IN_OUT[TokenClass.INPUT],
        TokenClass.CACHE_READ: IN_OUT[TokenClass.INPUT],
        TokenClass.CACHE_WRITE: IN_OUT[TokenClass.INPUT],
        TokenClass.OUTPUT: IN_OUT[TokenClass.OUTPUT],
    }
    assert complete("tiny", {**IN_OUT, TokenClass.CACHE_READ: cheap}, force=False)[TokenClass.CACHE_READ] == cheap


@pytest.mark.parametrize("missing", [TokenClass.INPUT, TokenClass.OUTPUT])
def test_p1_a_missing_price_is_refused_not_free(missing: TokenClass):
    prices = {name: price for name, price in IN_OUT.items() if name is not missing}
    with pytest.raises(BadPrice, match=f"the {missing} price of 'tiny' is missing"):
        complete("tiny", prices, force=False)


def test_p1_a_price_of_zero_is_allowed_where_it_is_said():
    free = dict.fromkeys((TokenClass.INPUT, TokenClass.OUTPUT), Price.per_million("0"))
    assert set(complete("tiny", free, force=False).values()) == {Price.per_million("0")}


def test_a_price_that_looks_like_a_slip_of_units_is_refused_unless_forced():
    limit = {**IN_OUT, TokenClass.OUTPUT: Price.per_million("10000")}
    dear = {**IN_OUT, TokenClass.OUTPUT: Price.per_million("10000.000001")}
    assert complete("tiny", limit, force=False)
    with pytest.raises(BadPrice, match="prices are per million tokens"):
        complete("tiny", dear, force=False)
    assert complete("tiny", dear, force=True)[TokenClass.OUTPUT] == dear[TokenClass.OUTPUT]


def test_token_prices_are_per_million_tokens_only():
    with pytest.raises(BadPrice, match="per million tokens"):
        complete("tiny", {**IN_OUT, TokenClass.OUTPUT: Price(1, 1000)}, force=True)


@pytest.mark.parametrize("sku", ["", "x" * 201])
def test_a_sku_has_a_name_of_some_length(sku: str):
    with pytest.raises(BadPrice, match="1 to 200 characters"):
        complete(sku, IN_OUT, force=False)


def test_p2_a_price_cannot_begin_in_the_past():
    check_start(NOW, NOW)
    check_start(NOW + 1, NOW)
    for past in (NOW - 0.000001, float("nan"), float("inf")):
        with pytest.raises(BadPrice, match="before now"):
            check_start(past, NOW)


def test_each_class_is_charged_at_its_own_price():
    sheet = PriceSheet(
        "tiny",
        "price_1",
        NOW,
        {
            TokenClass.INPUT: Price.per_million("3"),
            TokenClass.CACHE_READ: Price.per_million("0.3"),
            TokenClass.CACHE_WRITE: Price.per_million("3.75"),
            TokenClass.OUTPUT: Price.per_million("15"),
        },
    )
    usage = TokenUsage(uncached=1000, cache_read=100_000, cache_write=2000, output=500, reasoning=400)
    # 1000*3 + 100000*0.3 + 2000*3.75 + 500*15 = 48,000 micro-dollars; reasoning is not charged again
    assert sheet.grains(usage) == 48_000 * GRAINS_PER_MICRO
    assert [(line.token_class, line.quantity, str(line.price)) for line in sheet.lines(usage)] == [
        ("input", 1000, "3.00"),
        ("cache_read", 100_000, "0.30"),
        ("cache_write", 2000, "3.75"),
        ("output", 500, "15.00"),
    ]


def test_a_price_is_decimal_dollars():
    assert Price.per_million("0.0175").amount_pico == 17_500_000_000
    assert str(Price.per_million("0.0175")) == "0.0175"
    assert Price.per_million("1").amount_pico == PICO_PER_DOLLAR
    for wrong in ("-1", "1e3", "", "0.0000000000001", "10000000"):
        with pytest.raises(BadRequest):
            Price.per_million(wrong)


def test_a_unit_costs_whole_grains_that_can_be_stored():
    with pytest.raises(AssertionError):
        Price(1, 7)
    for amount in (-1, MAX_PRICE_PICO):
        with pytest.raises(AssertionError):
            Price(amount, 1)


def test_an_unpriced_model_is_the_operators_fault_and_says_so():
    error = Unpriced("tiny")
    assert isinstance(error, Unavailable)
    assert (error.status, error.code, error.retryable) == (503, "model_not_priced", False)
    assert "'tiny' has no price in force" in error.message
