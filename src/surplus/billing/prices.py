"""The rules of the price book: which price holds when, and which prices may be published. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from surplus.billing.errors import BadPrice
from surplus.billing.rating import TOKENS, Price, PriceSheet, TokenClass
from surplus.kit.clock import iso

SKU_MAX: Final = 200
PLAUSIBLE_MAX: Final = Price.per_million("10000")
"""Dearer token prices are most often a price per token, or in another currency, that was meant per million dollars."""


def price_in_force(sheets: Iterable[PriceSheet], at: float) -> PriceSheet | None:
    """Of the sheets of one sku, the one with the greatest `effective_from` that is not after `at`.

    Every instant has one price or none: a sheet ends where the next begins, so two can never overlap.
    """
    begun = (sheet for sheet in sheets if sheet.effective_from <= at)
    return max(begun, key=lambda sheet: sheet.effective_from, default=None)


def complete(sku: str, prices: Mapping[TokenClass, Price], *, force: bool) -> dict[TokenClass, Price]:
    """Prices for every class: those of the caches default to the price of input.

    Raises BadPrice if input or output has no price (a price of 0 has to be said), if a price is not per million tokens,
    or if it is implausible and not forced.
    """
    if not sku or len(sku) > SKU_MAX:
        raise BadPrice(f"a sku has 1 to {SKU_MAX} characters; this one has {len(sku)}", param="sku")
    for name in (TokenClass.INPUT, TokenClass.OUTPUT):
        if name not in prices:
            raise BadPrice(f"the {name} price of {sku!r} is missing; give one, 0 if it is meant to be free", param=name)
    for name, price in prices.items():
        if price.per != TOKENS:
            message = f"the {name} price of {sku!r} is for {price.per} units; prices are per million tokens"
            raise BadPrice(message, param=name)
        if price.amount_pico > PLAUSIBLE_MAX.amount_pico and not force:
            message = (
                f"the {name} price of {sku!r} is {price} USD; prices are per million tokens, and one above "
                f"{PLAUSIBLE_MAX} USD is most often a slip of units; publish it with force if it is meant"
            )
            raise BadPrice(message, param=name)
    return {name: prices.get(name, prices[TokenClass.INPUT]) for name in TokenClass}


def check_start(effective_from: float, now: float) -> None:
    """Raises BadPrice if a price would begin before `now`: what was used is not priced again."""
    if not (math.isfinite(effective_from) and effective_from >= now):
        message = f"a price cannot begin before now ({iso(now)}): what was used keeps the price it had"
        raise BadPrice(message, param="effective_from")
