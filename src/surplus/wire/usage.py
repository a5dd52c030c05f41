"""What was consumed: sums, and one record for each request."""

from typing import Literal

from surplus.wire.base import Answer, Dollars, ExactDollars, Instant


class Totals(Answer):
    """Sums. `input_tokens` include the cached and the cache-written ones; `output_tokens` include reasoning."""

    requests: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    charged: Dollars


class ModelUsage(Totals):
    """The sums of one model."""

    model: str


class Usage(Totals):
    """The sums of an organization, and of each of its models."""

    models: tuple[ModelUsage, ...]


class Record(Answer):
    """What one request consumed. `cost` is exact; `charged` was taken from the wallet in whole micro-dollars.

    `overrun` is what the operator bears; the rest of the cost is carried to the next charge. `degraded` says that the
    engine's count was missing or had to be mended.
    """

    id: str
    project: str | None
    key: str
    model: str
    deployment: str
    endpoint: str
    stream: bool
    outcome: Literal["completed", "aborted", "failed", "interrupted"]
    status: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: ExactDollars
    charged: Dollars
    overrun: Dollars
    degraded: bool
    started_at: Instant
    first_token_at: Instant | None
    ended_at: Instant
