"""What errors and limits look like to OpenAI's SDKs."""

import json

import pytest

from surplus.billing.errors import Unpriced
from surplus.gateway import errors, surface
from surplus.gateway.limits import Standing
from surplus.identity.errors import InvalidKey
from surplus.kit.errors import Exhausted, IdempotencyConflict, Limited, SurplusError


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "again"),
    [
        (errors.BadBody("m", param="n"), 400, "invalid_request_error", "invalid_request", None),
        (InvalidKey("m"), 401, "invalid_request_error", "invalid_api_key", None),
        (errors.RoleMayNotCall("m"), 403, "permission_error", "role_may_not_call_models", None),
        (errors.ModelNotFound("m"), 404, "invalid_request_error", "model_not_found", None),
        (IdempotencyConflict("m"), 409, "invalid_request_error", "idempotency_conflict", None),
        (errors.BodyTooLarge("m"), 413, "invalid_request_error", "too_large", None),
        (errors.ContextTooLong("m"), 400, "invalid_request_error", "context_length_exceeded", b"false"),
        (errors.BudgetSpent("m"), 429, "insufficient_quota", "insufficient_quota", b"false"),
        (errors.BudgetInFlight("m"), 429, "rate_limit_error", "budget_in_flight", None),
        (Limited("m"), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (errors.UpstreamLimited("m"), 429, "rate_limit_error", "upstream_rate_limited", None),
        (errors.UpstreamBroken("m"), 502, "server_error", "upstream_error", None),
        (errors.StreamBroken("m"), 502, "server_error", "stream_interrupted", None),
        (errors.NoCapacity("m"), 503, "server_error", "no_capacity", None),
        (errors.Draining("m"), 503, "server_error", "draining", None),
        (Unpriced("sku"), 503, "server_error", "model_not_priced", b"false"),
        (errors.UpstreamSilent("m"), 504, "server_error", "timeout", None),
        (SurplusError("m"), 500, "server_error", "internal", None),
    ],
)
def test_an_error_has_a_kind_a_code_and_says_whether_to_try_again(
    error: SurplusError, status: int, kind: str, code: str, again: bytes | None
) -> None:
    assert error.status == status
    said = json.loads(surface.error_body(error))
    assert said == {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}
    headers = dict(surface.error_headers(error))
    assert headers[b"content-type"] == b"application/json"
    assert headers.get(b"x-should-retry") == again


@pytest.mark.parametrize(
    ("seconds", "sent"),
    [
        (None, None),
        (0.0, b"1"),
        (0.2, b"1"),
        (1.4, b"1"),
        (1.6, b"2"),
        (59.0, b"59"),
        (60.0, b"60"),
        (86_400.0, b"60"),
        (float("inf"), b"60"),
    ],
)
def test_nobody_is_told_to_wait_for_more_than_a_minute(seconds: float | None, sent: bytes | None) -> None:
    assert dict(surface.error_headers(Limited("m", retry_after_s=seconds))).get(b"retry-after") == sent


@pytest.mark.parametrize(("seconds", "sent"), [(0.0, b"0"), (0.25, b"250"), (0.999, b"999"), (1.0, None), (60.0, None)])
def test_less_than_a_second_is_said_to_those_who_can_read_it(seconds: float, sent: bytes | None) -> None:
    headers = dict(surface.error_headers(Limited("m", retry_after_s=seconds)))
    assert headers.get(b"retry-after-ms") == sent
    assert int(headers[b"retry-after"]) >= 1


def test_what_cannot_help_has_no_time_to_wait_for() -> None:
    headers = dict(surface.error_headers(Exhausted("m", retry_after_s=5)))
    assert headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers


def test_a_request_has_one_id_under_the_two_names_that_sdks_read() -> None:
    assert surface.request_headers("req_1") == [(b"x-request-id", b"req_1"), (b"request-id", b"req_1")]


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (-1.0, b"0ms"),
        (0.0, b"0ms"),
        (0.0004, b"0ms"),
        (0.35, b"350ms"),
        (0.9994, b"999ms"),
        (0.9996, b"1s"),
        (1.0, b"1s"),
        (1.5, b"2s"),
        (12.3, b"12s"),
        (59.4, b"59s"),
        (59.6, b"1m0s"),
        (60.0, b"1m0s"),
        (61.2, b"1m1s"),
        (360.0, b"6m0s"),
        (599.9, b"10m0s"),
    ],
)
def test_spans_are_written_as_openai_writes_them(seconds: float, span: bytes) -> None:
    headers = dict(surface.limit_headers([("requests", Standing(10, 3, seconds))]))
    assert headers == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"3",
        b"x-ratelimit-reset-requests": span,
    }


def test_each_limit_has_its_own_headers() -> None:
    headers = surface.limit_headers([("requests", Standing(5, 4, 60.0)), ("tokens", Standing(1000, 0, 1.0))])
    assert len(dict(headers)) == 6
    assert dict(headers)[b"x-ratelimit-remaining-tokens"] == b"0"
