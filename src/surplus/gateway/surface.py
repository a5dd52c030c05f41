"""The OpenAI surface: how errors and headers look to its SDKs, whatever engine is behind.

The official SDKs read `x-request-id`, obey `x-should-retry`, and honour `retry-after` for at most two minutes; other
clients sleep for as long as it says, so it never says more than a minute.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from surplus.gateway.limits import Standing
from surplus.kit.errors import SurplusError
from surplus.kit.http1_server import Headers

RETRY_AFTER_MAX_S: Final = 60

_KINDS: Final = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    414: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
}


def error_object(error: SurplusError) -> dict[str, Any]:
    """`{"message", "type", "param", "code"}`."""
    kind = "insufficient_quota" if error.code == "insufficient_quota" else _KINDS.get(error.status, "server_error")
    return {"message": error.message, "type": kind, "param": error.param, "code": error.code}


def error_body(error: SurplusError) -> bytes:
    """The body of an error answer, and the data of an error event."""
    return msgspec.json.encode({"error": error_object(error)})


def error_headers(error: SurplusError) -> Headers:
    """What tells a client whether and when to try again."""
    headers: Headers = [(b"content-type", b"application/json")]
    if error.retryable is not None:
        headers.append((b"x-should-retry", b"true" if error.retryable else b"false"))
    if error.retry_after_s is not None and error.retryable is not False:
        wait = min(RETRY_AFTER_MAX_S, error.retry_after_s)
        headers.append((b"retry-after", str(max(1, round(wait))).encode()))
        if wait < 1:  # the official SDKs read this first; everyone else waits for the whole second
            headers.append((b"retry-after-ms", str(round(wait * 1000)).encode()))
    return headers


def request_headers(request_id: str) -> Headers:
    """The id of the request, under the names that OpenAI's and Anthropic's SDKs read."""
    value = request_id.encode()
    return [(b"x-request-id", value), (b"request-id", value)]


def limit_headers(standings: Iterable[tuple[str, Standing]]) -> Headers:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`."""
    headers: Headers = []
    for what, standing in standings:
        name = what.encode()
        headers.append((b"x-ratelimit-limit-" + name, str(standing.limit).encode()))
        headers.append((b"x-ratelimit-remaining-" + name, str(standing.remaining).encode()))
        headers.append((b"x-ratelimit-reset-" + name, _span(standing.reset_s).encode()))
    return headers


def _span(seconds: float) -> str:
    """`350ms`, `12s` or `6m0s`, as OpenAI writes it."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"
