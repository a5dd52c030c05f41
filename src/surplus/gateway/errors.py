"""What the data plane refuses, and how it fails.

The status of each error, and whether a client should try again, follow what the official SDKs do with it.
"""

from surplus.kit.errors import (
    BadRequest,
    Exhausted,
    Forbidden,
    Limited,
    NotFound,
    TimedOut,
    TooLarge,
    Unavailable,
    UpstreamFailed,
)


class BadBody(BadRequest):
    """The body is not a JSON object, or a field that we have to understand has a wrong value."""


class BodyTooLarge(TooLarge):
    """The body is larger than this server takes."""


class ModelNotFound(NotFound):
    """No model of this name is served here, or it does not serve this endpoint."""

    code = "model_not_found"


class RoleMayNotCall(Forbidden):
    """The key is good, but its role does not call models."""

    code = "role_may_not_call_models"


class BudgetSpent(Exhausted):
    """A wallet or a hard budget has no room for the largest cost of this request, and none will free by itself."""


class BudgetInFlight(Limited):
    """The money is there, but held by requests in flight; it frees when they end."""

    code = "budget_in_flight"


class ContextTooLong(BadRequest):
    """The prompt does not fit the model's context."""

    code = "context_length_exceeded"
    retryable = False


class NoCapacity(Unavailable):
    """The model exists, but none of its replicas can take a request now."""

    code = "no_capacity"


class Draining(Unavailable):
    """The server is shutting down and takes no new requests."""

    code = "draining"


class BooksUnchecked(Unavailable):
    """The server has just started, and sells when its books have been checked."""

    code = "ledger_unchecked"


class LedgerViolation(Unavailable):
    """The books are unsound: nothing is sold until the operator has mended them."""

    code = "ledger_violation"
    retryable = False


class UpstreamRefused(BadRequest):
    """The engine called the request wrong; its words are passed on."""


class UpstreamBroken(UpstreamFailed):
    """The engine failed, and trying elsewhere did not help."""


class UpstreamLimited(Limited):
    """The provider behind us is rate limiting us, not the caller's own limits."""

    code = "upstream_rate_limited"


class UpstreamSilent(TimedOut):
    """The engine did not answer in time."""


class StreamBroken(UpstreamFailed):
    """The engine's stream ended before its answer did."""

    code = "stream_interrupted"


class NotAGateway(Unavailable):
    """This server keeps the books of others, which take the requests."""

    code = "not_a_gateway"

    def __init__(self) -> None:
        super().__init__(
            "this server takes no requests for models; its operator has gateways for them at another address"
        )


class JournalBehind(Unavailable):
    """So much settled work waits for the database that no more is taken on."""

    code = "journal_behind"

    def __init__(self, lag_bytes: int) -> None:
        message = f"the database is {lag_bytes:,} bytes behind this server; nothing is lost, try again in a moment"
        super().__init__(message, retry_after_s=2)
