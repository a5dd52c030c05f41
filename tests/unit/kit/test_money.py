from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.kit.errors import BadRequest
from surplus.kit.money import (
    GRAINS_PER_MICRO,
    GRAINS_PER_PICO,
    MAX_MICRO,
    MAX_PRICE_PICO,
    PICO_PER_DOLLAR,
    ceiling_micro,
    format_dollars,
    format_grains,
    format_price,
    parse_dollars,
    parse_price,
    settle,
)

amounts = st.integers(-MAX_MICRO + 1, MAX_MICRO - 1)
prices = st.integers(0, MAX_PRICE_PICO - 1)
grains = st.one_of(st.integers(0, 10**20), st.integers(0, 10**4).map(lambda n: n * GRAINS_PER_MICRO))
carries = st.integers(0, GRAINS_PER_MICRO - 1)


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0),
        ("-0", 0),
        ("12.5", 12_500_000),
        ("0.000001", 1),
        ("-0.000001", -1),
        ("-12.50", -12_500_000),
        ("007", 7_000_000),
        (" 1.0 ", 1_000_000),
        ("1.000000000000", 1_000_000),
        ("4611686018427.387903", MAX_MICRO - 1),
    ],
)
def test_dollars_are_read_exactly(text: str, micro: int) -> None:
    assert parse_dollars(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "1.",
        ".5",
        "+1",
        "--1",
        "1e3",
        "1,000",
        "1 000",
        "0x1",
        "nan",
        "inf",
        "$1",
        "1.2.3",
        "1_000",
        "٣",
        "1.٣",
    ],
)
def test_what_is_not_a_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="decimal number"):
        parse_dollars(text)
    with pytest.raises(BadRequest, match="decimal number"):
        parse_price(text)


def test_more_decimals_than_are_counted_are_refused_unless_they_are_zeros() -> None:
    with pytest.raises(BadRequest, match="more than 6 decimals"):
        parse_dollars("0.0000001")
    assert parse_dollars("0.1000000") == 100_000
    assert parse_price("0.000000000001") == 1
    with pytest.raises(BadRequest, match="decimal number"):
        parse_price("0.0000000000001")


def test_amounts_that_64_bits_do_not_hold_are_refused() -> None:
    for text in ("4611686018427.387904", "-4611686018427.387904", "999999999999999"):
        with pytest.raises(BadRequest, match="too large"):
            parse_dollars(text)


def test_prices_are_zero_or_more_and_fit_64_bits() -> None:
    with pytest.raises(BadRequest, match="negative"):
        parse_price("-0.01")
    largest = format_price(MAX_PRICE_PICO - 1)
    assert parse_price(largest) == MAX_PRICE_PICO - 1
    for text in (format_price(MAX_PRICE_PICO), "999999999999999"):
        with pytest.raises(BadRequest, match="too large"):
            parse_price(text)


@given(amounts)
def test_dollars_survive_writing_and_reading(micro: int) -> None:
    text = format_dollars(micro)
    assert parse_dollars(text) == micro
    assert len(text.partition(".")[2]) == 6


@given(prices)
def test_prices_survive_writing_and_reading(pico: int) -> None:
    text = format_price(pico)
    assert parse_price(text) == pico
    fraction = text.partition(".")[2]
    assert len(fraction) == 2 or not fraction.endswith("0")


def test_prices_and_costs_are_written_without_needless_zeros() -> None:
    assert format_price(0) == "0.00"
    assert format_price(PICO_PER_DOLLAR // 10) == "0.10"
    assert format_price(PICO_PER_DOLLAR * 3 // 2 + 1) == "1.500000000001"
    assert format_grains(0) == "0.00"
    assert format_grains(PICO_PER_DOLLAR * GRAINS_PER_PICO) == "1.00"
    assert format_grains(-PICO_PER_DOLLAR * GRAINS_PER_PICO // 4) == "-0.25"


@given(st.integers(-(10**25), 10**25))
def test_a_written_cost_is_exact_or_says_that_it_is_not(cost: int) -> None:
    text = format_grains(cost)
    shown = Fraction(text.removesuffix("…"))
    exact = Fraction(cost, GRAINS_PER_PICO * PICO_PER_DOLLAR)
    assert (shown == exact) != text.endswith("…")
    assert 0 <= abs(exact) - abs(shown) < Fraction(1, PICO_PER_DOLLAR)


@given(carries, st.lists(grains, max_size=20))
def test_charges_add_up_to_the_floor_of_the_exact_total_whatever_the_batching(carry: int, costs: list[int]) -> None:
    charged, left = 0, carry
    for cost in costs:
        charge, left = settle(left, cost)
        assert charge >= 0
        charged += charge
    assert (charged, left) == divmod(carry + sum(costs), GRAINS_PER_MICRO)
    assert (charged, left) == settle(carry, sum(costs))


@given(carries, grains, grains)
def test_the_ceiling_is_never_exceeded(carry: int, bound: int, cost: int) -> None:
    assert settle(carry, min(bound, cost))[0] <= ceiling_micro(bound)


@given(grains)
def test_the_ceiling_is_reached_with_the_largest_carry(bound: int) -> None:
    assert settle(GRAINS_PER_MICRO - 1, bound)[0] == ceiling_micro(bound)


def test_what_is_free_has_no_ceiling() -> None:
    assert ceiling_micro(0) == 0
    assert ceiling_micro(1) == 1


@pytest.mark.parametrize(("carry", "cost"), [(-1, 0), (GRAINS_PER_MICRO, 0), (0, -1)])
def test_settle_takes_only_a_carry_below_one_micro_dollar_and_no_negative_cost(carry: int, cost: int) -> None:
    with pytest.raises(AssertionError):
        settle(carry, cost)
