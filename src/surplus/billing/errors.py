"""Errors of billing."""

from surplus.kit.errors import BadRequest, Conflict, NotFound, SurplusError, Unavailable


class Unpriced(Unavailable):
    """A model has no price in force. It is refused, never free; only the operator can change that."""

    code = "model_not_priced"
    retryable = False

    def __init__(self, sku: str) -> None:
        message = f"{sku!r} has no price in force, so it is not sold; the operator has to publish one (`surplus price`)"
        super().__init__(message, detail={"sku": sku})


class BadPrice(BadRequest):
    """Prices that are incomplete, implausible, or start in the past."""

    code = "bad_price"


class PriceExists(Conflict):
    """The sku has a price from the same instant; published prices never change."""

    code = "price_exists"


class BadBudget(BadRequest):
    """A cap that is no amount."""

    code = "bad_budget"


class UnknownBudget(NotFound):
    """No budget with this id is visible to the caller."""

    code = "budget_not_found"


class UnknownPriceVersion(SurplusError):
    """Usage was recorded at a price that the price book does not have; a statement would be wrong."""

    code = "unknown_price_version"


class BadMonth(BadRequest):
    """Not a month of the calendar."""

    code = "bad_month"
