"""What tokens cost: prices by class of token, exact costs, and the most that a request can cost. Pure, no floats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from surplus.kit import money
from surplus.metering.usage import TokenUsage

TOKENS: Final = 1_000_000
"""Token prices are for this many tokens."""


class TokenClass(StrEnum):
    """The classes of tokens that have prices. A token is in exactly one; reasoning tokens are output tokens."""

    INPUT = "input"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"
    OUTPUT = "output"


INPUT_SIDE: Final = (TokenClass.INPUT, TokenClass.CACHE_READ, TokenClass.CACHE_WRITE)


@dataclass(frozen=True, slots=True)
class Price:
    """`amount_pico` pico-dollars for every `per` units; `per` divides 9,000,000, so that a unit costs whole grains."""

    amount_pico: int
    per: int

    def __post_init__(self) -> None:
        assert 0 <= self.amount_pico < money.MAX_PRICE_PICO
        assert self.per > 0
        assert money.GRAINS_PER_PICO % self.per == 0

    @classmethod
    def per_million(cls, dollars: str) -> Self:
        """A price of tokens from decimal dollars per million, such as `"0.10"`. Raises BadRequest on anything else."""
        return cls(money.parse_price(dollars), TOKENS)

    @property
    def grains(self) -> int:
        """The exact cost of one unit."""
        return self.amount_pico * (money.GRAINS_PER_PICO // self.per)

    def __str__(self) -> str:
        """Decimal dollars for `per` units."""
        return money.format_price(self.amount_pico)


@dataclass(frozen=True, slots=True)
class RatedLine:
    """`quantity` tokens of one class at one price: exactly `grains`."""

    token_class: TokenClass
    quantity: int
    price: Price
    grains: int


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """The prices of a sku, one for each class of token, from `effective_from` until the next sheet. Never changes."""

    sku: str
    version: str
    effective_from: float
    prices: Mapping[TokenClass, Price] = field(hash=False)
    currency: str = "USD"

    def __post_init__(self) -> None:
        assert set(self.prices) == set(TokenClass)
        object.__setattr__(self, "prices", MappingProxyType(dict(self.prices)))

    def grains(self, usage: TokenUsage) -> int:
        """The exact cost of `usage`."""
        return sum(self.prices[name].grains * quantity for name, quantity in _quantities(usage))

    def lines(self, usage: TokenUsage) -> list[RatedLine]:
        """The cost of `usage`, one line for each class that has any tokens; the lines sum to `grains`."""
        return [
            RatedLine(name, quantity, self.prices[name], self.prices[name].grains * quantity)
            for name, quantity in _quantities(usage)
            if quantity
        ]


def _quantities(usage: TokenUsage) -> tuple[tuple[TokenClass, int], ...]:
    return (
        (TokenClass.INPUT, usage.uncached),
        (TokenClass.CACHE_READ, usage.cache_read),
        (TokenClass.CACHE_WRITE, usage.cache_write),
        (TokenClass.OUTPUT, usage.output),
    )


def max_grains(
    sheets: Sequence[PriceSheet], *, input_bound: int, output_bound: int, choices: int, context: int | None
) -> int:
    """The most that a request can cost at any one of `sheets`. Raises ValueError without a sheet: nothing is free.

    It has at most `input_bound` input tokens, all of the dearest input class, and `choices` answers of at most
    `output_bound` tokens each, where input and any one answer together fit in `context` (None: no such limit).
    """
    most = input_bound if context is None else min(input_bound, context)
    # More input costs more while every answer keeps its full length, and then takes a token from every answer for each
    # of its own: the cost is concave in the input, so its maximum is where the answers begin to shrink, or at the end.
    turn = most if context is None else min(most, max(0, context - output_bound))

    ends = [
        (tokens, choices * (output_bound if context is None else min(output_bound, context - tokens)))
        for tokens in (turn, most)
    ]
    rates = [
        (max(sheet.prices[name].grains for name in INPUT_SIDE), sheet.prices[TokenClass.OUTPUT].grains)
        for sheet in sheets
    ]
    return max(tokens * dearest + answers * output for tokens, answers in ends for dearest, output in rates)
