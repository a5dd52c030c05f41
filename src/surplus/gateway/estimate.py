"""What is charged where an engine never said what it used: never nothing, never more than could have been. Pure.

Four bytes a token is the common rule of thumb for text; records made this way are marked as degraded.
"""

from typing import Final

from surplus.gateway.bounds import Bounds
from surplus.metering.usage import TokenUsage

BYTES_PER_TOKEN: Final = 4


def estimated(bounds: Bounds, *, events: int | None = None, answer_bytes: int = 0) -> TokenUsage:
    """Usage of a request whose engine gave none: one token per delivered event, or four bytes of the answer a token."""
    output = 0
    if bounds.answers:
        output = events if events is not None else answer_bytes // BYTES_PER_TOKEN
        if bounds.output is not None:
            output = min(output, bounds.output * bounds.answers)
    return TokenUsage(uncached=bounds.size // BYTES_PER_TOKEN, output=output)
