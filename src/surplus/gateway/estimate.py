"""What is charged where an engine never said what it used: never nothing, never more than what was held. Pure.

Four bytes a token is the common rule of thumb for text; records made this way are marked as degraded.
"""

from typing import Final

from surplus.gateway.bounds import Bounds
from surplus.metering.usage import TokenUsage
from surplus.serving.model import Deployment

BYTES_PER_TOKEN: Final = 4


def estimated(
    bounds: Bounds, deployment: Deployment, *, events: int | None = None, answer_bytes: int = 0
) -> TokenUsage:
    """Usage of a request whose engine gave none: one token per delivered event, or four bytes of the answer a token."""
    read = min(bounds.size // BYTES_PER_TOKEN, deployment.context * bounds.inputs)
    written = events if events is not None else answer_bytes // BYTES_PER_TOKEN
    limit = bounds.output if bounds.output is not None else deployment.max_output
    room = deployment.context * bounds.inputs - read
    return TokenUsage(uncached=read, output=min(written, limit * bounds.answers, room * bounds.choices))
