"""What text in a request means; what is wrong with it is said with the name of its field."""

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import Query

from surplus.kit import clock, money
from surplus.kit.errors import BadRequest

T = TypeVar("T")

INSTANT_MAX: Final = 253_370_764_800.0
"""The year 9999. Later instants cannot be printed in every time zone."""
SEQ_MAX: Final = 2**62

PageSize = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]


def dollars(text: str, param: str) -> int:
    """Micro-dollars of a decimal string. Raises BadRequest."""
    return _named(money.parse_dollars, text, param)


def instant(text: str | None, param: str) -> float | None:
    """Epoch seconds of an ISO 8601 instant, None of None. Raises BadRequest."""
    if text is None:
        return None
    found = _named(clock.parse_iso, text, param)
    if not 0 <= found < INSTANT_MAX:
        raise BadRequest(f"{text!r} is outside of the years 1970 to 9998", param=param)
    return found


def _named(parse: Callable[[str], T], text: str, param: str) -> T:
    try:
        return parse(text)
    except BadRequest as error:
        raise BadRequest(error.message, param=param) from error
