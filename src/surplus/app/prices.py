"""Prices: published from decimal dollars, and found for the models that are served."""

from collections.abc import Mapping

from surplus.billing import service as billing
from surplus.billing.rating import Price, PriceSheet, TokenClass
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.errors import BadRequest
from surplus.kit.ids import Ids


def publish(
    session: WriteSession,
    ids: Ids,
    sku: str,
    dollars: Mapping[TokenClass, str],
    *,
    effective_from: float | None,
    now: float,
    force: bool,
) -> PriceSheet:
    """Publish prices in decimal dollars per million tokens, from `effective_from` (None: `now`) on, for good.

    Raises BadRequest for what is no price, BadPrice, and PriceExists if one begins at the same instant.
    """
    prices = {name: _price(name, text) for name, text in dollars.items()}
    start = now if effective_from is None else effective_from
    return billing.publish_prices(session, ids, sku, prices, effective_from=start, now=now, force=force)


def in_force(session: ReadSession, *, now: float) -> dict[str, PriceSheet]:
    """The sheet that holds at `now`, by sku; what has no price is left out."""
    begun = (sheet for sheet in billing.price_sheets(session, now=now) if sheet.effective_from <= now)
    return {sheet.sku: sheet for sheet in begun}  # of each sku the book gives one that has begun, the one in force


def _price(name: TokenClass, text: str) -> Price:
    try:
        return Price.per_million(text)
    except BadRequest as error:
        raise BadRequest(error.message, param=name.value) from error
