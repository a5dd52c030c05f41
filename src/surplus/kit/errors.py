"""The errors that people and programs meet.

SurplusError                 500  internal
├── BadRequest               400  invalid_request
│   └── BadSetting           400  bad_setting
├── Unauthenticated          401  invalid_api_key
├── Forbidden                403  forbidden
├── NotFound                 404  not_found
├── MethodNotAllowed         405  method_not_allowed
├── Conflict                 409  conflict
│   └── IdempotencyConflict  409  idempotency_conflict
├── TooSlow                  408  request_too_slow
├── TooLarge                 413  too_large
├── UrlTooLong               414  url_too_long
├── HeadTooLarge             431  head_too_large
├── Exhausted                429  insufficient_quota    (money is spent: trying again does not help)
├── Limited                  429  rate_limit_exceeded   (trying again later helps)
├── UpstreamFailed           502  upstream_error
├── Unavailable              503  unavailable
└── TimedOut                 504  timeout

Domains subclass these beside the code that raises them; a subclass may narrow `code`, never widen `status`.
A message says what happened, why, and what to do next. `detail` holds the same as data.
"""

from collections.abc import Mapping
from typing import ClassVar


class SurplusError(Exception):
    """Base of every error that leaves a domain; by itself, a fault of ours.

    `retry_after_s` is how long a caller should wait (seconds); `retryable` says whether trying again can help, None
    where the status already says it.
    """

    status: ClassVar[int] = 500
    code: str = "internal"
    retryable: bool | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.detail: Mapping[str, object] = detail or {}
        if code is not None:
            self.code = code


class BadRequest(SurplusError):
    """The request cannot be understood or breaks a rule; the caller has to change it."""

    status = 400
    code = "invalid_request"


class BadSetting(BadRequest):
    """A setting is unknown, has a wrong value, or would have no effect."""

    code = "bad_setting"


class Unauthenticated(SurplusError):
    """No key, or a key that is wrong, expired or revoked."""

    status = 401
    code = "invalid_api_key"


class Forbidden(SurplusError):
    """The key is good but its role or scope does not allow this."""

    status = 403
    code = "forbidden"


class NotFound(SurplusError):
    """Nothing with this name or id is visible to the caller."""

    status = 404
    code = "not_found"


class MethodNotAllowed(SurplusError):
    """The address exists, but not with this method."""

    status = 405
    code = "method_not_allowed"


class Conflict(SurplusError):
    """The request contradicts what is already there."""

    status = 409
    code = "conflict"


class IdempotencyConflict(Conflict):
    """An idempotency key was used again with a different body."""

    code = "idempotency_conflict"


class TooSlow(SurplusError):
    """The head or the body of the request did not arrive in time."""

    status = 408
    code = "request_too_slow"


class TooLarge(SurplusError):
    """The request is larger than the server takes."""

    status = 413
    code = "too_large"


class UrlTooLong(SurplusError):
    """The address of the request is longer than the server reads."""

    status = 414
    code = "url_too_long"


class HeadTooLarge(SurplusError):
    """The headers of the request are too many, or too long together."""

    status = 431
    code = "head_too_large"


class Exhausted(SurplusError):
    """Money or budget is spent; the same request will be refused until someone adds to it."""

    status = 429
    code = "insufficient_quota"
    retryable = False


class Limited(SurplusError):
    """A rate or concurrency limit is reached; it frees by itself."""

    status = 429
    code = "rate_limit_exceeded"


class UpstreamFailed(SurplusError):
    """The engine or provider behind us failed or answered nonsense."""

    status = 502
    code = "upstream_error"


class Unavailable(SurplusError):
    """We cannot serve this now: starting, draining, full, or our own store does not answer."""

    status = 503
    code = "unavailable"


class TimedOut(SurplusError):
    """The engine or provider behind us did not answer in time."""

    status = 504
    code = "timeout"
