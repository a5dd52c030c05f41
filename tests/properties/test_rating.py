"""Laws of prices and rating. P1: one price per instant. P2: published prices never change. P3: rating is exact."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.billing.prices import price_in_force
from surplus.billing.rating import TOKENS, Price, PriceSheet, TokenClass, max_grains
from surplus.kit.money import GRAINS_PER_PICO, MICRO_PER_DOLLAR, PICO_PER_DOLLAR, settle
from surplus.metering.usage import TokenUsage

SECONDS_PER_HOUR = 3600
GRAINS_PER_DOLLAR = PICO_PER_DOLLAR * GRAINS_PER_PICO

micro_prices = st.integers(0, 10_000 * MICRO_PER_DOLLAR)
token_prices = micro_prices.map(lambda micro: Price(micro * 10**6, TOKENS))
price_sets = st.fixed_dictionaries(dict.fromkeys(TokenClass, token_prices))
usages = st.builds(TokenUsage, *[st.integers(0, 10**9)] * 4)


def sheet_of(prices: dict[TokenClass, Price], *, effective_from: float = 0.0, version: str = "price_1") -> PriceSheet:
    return PriceSheet("sku", version, effective_from, prices)


sheets = price_sets.map(sheet_of)


@given(micro_prices, st.integers(0, 10**12))
def test_p3_a_price_per_million_with_six_decimals_is_exact(micro: int, tokens: int):
    price = Price.per_million(f"{micro // MICRO_PER_DOLLAR}.{micro % MICRO_PER_DOLLAR:06}")
    exact_dollars = Fraction(micro, MICRO_PER_DOLLAR) * tokens / 1_000_000
    assert Fraction(price.grains * tokens, GRAINS_PER_DOLLAR) == exact_dollars


@given(micro_prices, st.integers(0, 10**12))
def test_p3_a_price_per_hour_with_six_decimals_is_exact_to_the_second(micro: int, seconds: int):
    price = Price(micro * 10**6, SECONDS_PER_HOUR)
    exact_dollars = Fraction(micro, MICRO_PER_DOLLAR) * seconds / 3600
    assert Fraction(price.grains * seconds, GRAINS_PER_DOLLAR) == exact_dollars


@given(sheets, usages)
def test_p3_m5_the_lines_partition_the_tokens_and_sum_to_the_cost(sheet: PriceSheet, usage: TokenUsage):
    lines = sheet.lines(usage)
    assert sum(line.grains for line in lines) == sheet.grains(usage)
    assert sum(line.quantity for line in lines) == usage.input + usage.output
    assert len({line.token_class for line in lines}) == len(lines)
    assert all(line.grains == line.quantity * line.price.grains for line in lines)


@given(sheets, usages, usages)
def test_p4_p5_cost_is_additive_and_never_falls_with_usage(sheet: PriceSheet, one: TokenUsage, other: TokenUsage):
    assert sheet.grains(one + other) == sheet.grains(one) + sheet.grains(other)
    assert sheet.grains(one + other) >= sheet.grains(one)


@given(sheets, st.lists(usages, max_size=6), st.randoms())
def test_charges_with_a_carry_sum_to_the_floor_of_the_exact_cost_in_any_order(sheet, each, random):
    random.shuffle(each)
    carry = charged = 0
    for usage in each:
        micro, carry = settle(carry, sheet.grains(usage))
        charged += micro
    total = sum(each, TokenUsage())
    assert (charged, carry) == settle(0, sheet.grains(total))


@given(st.lists(st.floats(0, 100), unique=True, max_size=6), st.floats(-10, 110), st.randoms())
def test_p1_one_price_holds_at_an_instant_and_none_before_the_first(starts: list[float], at: float, random):
    cheap = Price.per_million("1")
    published = [
        sheet_of(dict.fromkeys(TokenClass, cheap), effective_from=start, version=f"price_{start}") for start in starts
    ]
    random.shuffle(published)
    found = price_in_force(published, at)
    ends = {start: min((s for s in starts if s > start), default=float("inf")) for start in starts}
    holding = [start for start in starts if start <= at < ends[start]]
    assert [found.effective_from] == holding if found else not holding


@given(price_sets, usages)
def test_p2_a_sheet_does_not_change_with_what_it_was_made_from(prices: dict[TokenClass, Price], usage: TokenUsage):
    sheet = sheet_of(prices)
    before = sheet.grains(usage), sheet.lines(usage)
    prices[TokenClass.INPUT] = Price(prices[TokenClass.INPUT].amount_pico + 1, TOKENS)
    assert (sheet.grains(usage), sheet.lines(usage)) == before


def test_p2_a_sheet_cannot_be_changed():
    sheet = sheet_of(dict.fromkeys(TokenClass, Price.per_million("1")))
    with pytest.raises(TypeError):
        sheet.prices[TokenClass.INPUT] = Price.per_million("2")  # pyright: ignore[reportIndexIssue]
    with pytest.raises(AttributeError):
        sheet.version = "price_2"  # pyright: ignore[reportAttributeAccessIssue]


def dearest_by_trying_everything(
    sheets: list[PriceSheet], input_bound: int, output_bound: int, choices: int, context: int | None
) -> int:
    most = 0
    for sheet in sheets:
        for tokens in range(input_bound + 1):
            if context is not None and tokens > context:
                break
            answer = output_bound if context is None else min(output_bound, context - tokens)
            inputs = (TokenUsage(uncached=tokens), TokenUsage(cache_read=tokens), TokenUsage(cache_write=tokens))
            most = max(most, *(sheet.grains(usage + TokenUsage(output=answer * choices)) for usage in inputs))
    return most


small = st.integers(0, 12)


@given(st.lists(sheets, min_size=1, max_size=3), small, small, st.integers(0, 4), st.none() | st.integers(0, 15))
def test_the_largest_cost_is_what_trying_everything_finds(sheets, input_bound, output_bound, choices, context):
    found = max_grains(sheets, input_bound=input_bound, output_bound=output_bound, choices=choices, context=context)
    assert found == dearest_by_trying_everything(sheets, input_bound, output_bound, choices, context)


@given(sheets, small, small, st.integers(1, 4), st.integers(0, 15), st.data())
def test_no_request_within_its_bounds_costs_more_than_the_largest_cost(
    sheet, input_bound, output_bound, choices, context, data
):
    tokens = data.draw(st.integers(0, min(input_bound, context)))
    read = data.draw(st.integers(0, tokens))
    write = data.draw(st.integers(0, tokens - read))
    answer = st.integers(0, min(output_bound, context - tokens))
    output = sum(data.draw(answer) for _ in range(choices))
    usage = TokenUsage(tokens - read - write, read, write, output)
    most = max_grains([sheet], input_bound=input_bound, output_bound=output_bound, choices=choices, context=context)
    assert sheet.grains(usage) <= most


def test_p1_nothing_is_free_for_want_of_a_price():
    with pytest.raises(ValueError, match="empty"):
        max_grains([], input_bound=1, output_bound=1, choices=1, context=None)
    assert price_in_force([], 0.0) is None
