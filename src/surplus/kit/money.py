"""Money is integers.

- The ledger counts micro-dollars (10^-6 dollar).
- A price is `(amount_pico, per, unit)`: `amount_pico` pico-dollars (10^-12 dollar) for every `per` units.
- Rating is exact: costs are counted in *grains*, 1/9,000,000 of a pico-dollar. 9,000,000 is the least common multiple
  of 1,000,000 (tokens) and 3,600 (seconds), so every price per million tokens and per hour is a whole number of grains,
  and no division ever loses anything. What does not fill a micro-dollar is carried to the next charge.
"""

import re
from typing import Final

from surplus.kit.errors import BadRequest

MICRO_PER_DOLLAR: Final = 1_000_000
PICO_PER_DOLLAR: Final = 1_000_000_000_000
GRAINS_PER_PICO: Final = 9_000_000
GRAINS_PER_MICRO: Final = 1_000_000 * GRAINS_PER_PICO
MAX_MICRO: Final = 2**62
"""Amounts at or beyond this are refused, so that sums of two always fit 64 bits."""
MAX_PRICE_PICO: Final = 2**62
"""Prices at or beyond this (4.6 million dollars a unit) are refused: they are stored in 64 bits."""

_DECIMAL = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,12}))?")


def _parse(text: str, decimals: int, what: str) -> int:
    match = _DECIMAL.fullmatch(text.strip())
    if match is None:
        message = f"{text!r} is not {what}; write a decimal number such as 12.50"
        raise BadRequest(message)
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if len(fraction.rstrip("0")) > decimals:
        message = f"{text!r} has more than {decimals} decimals; {what} is counted in steps of 10^-{decimals}"
        raise BadRequest(message)
    number = int(whole) * 10**decimals + int(fraction[:decimals].ljust(decimals, "0"))
    return -number if sign else number


def parse_dollars(text: str) -> int:
    """Micro-dollars of a decimal string such as `"12.5"`. Raises BadRequest on anything else."""
    micro = _parse(text, 6, "an amount of dollars")
    if abs(micro) >= MAX_MICRO:
        message = f"{text!r} is too large an amount"
        raise BadRequest(message)
    return micro


def format_dollars(micro: int) -> str:
    """`1250000` as `"1.250000"`: always six decimals, so that columns of money line up and parse back exactly."""
    sign = "-" if micro < 0 else ""
    whole, fraction = divmod(abs(micro), MICRO_PER_DOLLAR)
    return f"{sign}{whole}.{fraction:06d}"


def parse_price(text: str) -> int:
    """Pico-dollars of a decimal string, up to 12 decimals. Raises BadRequest if negative, malformed or too large."""
    pico = _parse(text, 12, "a price in dollars")
    if pico < 0:
        message = f"{text!r} is negative; a price is zero or more"
        raise BadRequest(message)
    if pico >= MAX_PRICE_PICO:
        message = f"{text!r} is too large a price; one stays below {format_price(MAX_PRICE_PICO)} dollars"
        raise BadRequest(message)
    return pico


def format_price(amount_pico: int) -> str:
    """Pico-dollars (>= 0) as decimal dollars without needless zeros, at least two decimals: `"0.10"`."""
    assert amount_pico >= 0
    whole, fraction = divmod(amount_pico, PICO_PER_DOLLAR)
    digits = f"{fraction:012d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"


def format_grains(grains: int) -> str:
    """An exact cost as decimal dollars; beyond 12 decimals it ends in `…` rather than being rounded silently."""
    sign = "-" if grains < 0 else ""
    pico, rest = divmod(abs(grains), GRAINS_PER_PICO)
    return sign + format_price(pico) + ("…" if rest else "")


def settle(carry: int, grains: int) -> tuple[int, int]:
    """Whole micro-dollars to charge now, and the carry (grains) left for the next charge.

    The sum of all charges is the floor of the exact total, whatever the order and the batching.
    """
    assert 0 <= carry < GRAINS_PER_MICRO
    assert grains >= 0
    return divmod(carry + grains, GRAINS_PER_MICRO)


def ceiling_micro(grains: int) -> int:
    """The most that `settle` can charge for a cost of at most `grains`, whatever the carry: 0 for what is free."""
    return -(-grains // GRAINS_PER_MICRO)
