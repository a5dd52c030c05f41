"""What an engine's refusal means to our caller: the caller's mistakes are the caller's, all else is not."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from surplus.gateway.errors import (
    BodyTooLarge,
    ContextTooLong,
    NoCapacity,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamSilent,
)
from surplus.gateway.upstream_errors import from_error_object, from_status, is_error_body, may_help, retry_after
from surplus.kit.errors import SurplusError
from tests.unit.gateway.parts import NOW


def told(status: int, body: Any = None, **headers: str) -> SurplusError:
    """What our caller is told; the body is JSON unless it is bytes."""
    data = (
        body if isinstance(body, bytes) else json.dumps(body or {"error": {"message": "words", "type": "t"}}).encode()
    )
    return from_status(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, NOW)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UpstreamRefused),
        (409, UpstreamRefused),
        (422, UpstreamRefused),
        (413, BodyTooLarge),
        (429, UpstreamLimited),
        (408, UpstreamSilent),
        (504, UpstreamSilent),
        (503, NoCapacity),
        *(
            (status, UpstreamBroken)
            for status in (401, 402, 403, 404, 405, 410, 415, 418, 451, 500, 501, 502, 520, 529)
        ),
        *((status, UpstreamBroken) for status in (201, 204, 206, 301, 302, 304, 307)),
    ],
)
def test_every_status_has_a_meaning(status: int, kind: type[SurplusError]) -> None:
    error = told(status)
    assert type(error) is kind
    mine = status in {400, 409, 413, 422}
    assert (400 <= error.status < 500 and error.status != 429) == mine, "a caller is blamed for its own mistakes only"


def test_trying_again_helps_unless_the_caller_was_wrong() -> None:
    helps = [status for status in range(100, 600) if may_help(status)]
    assert helps == [401, 403, 404, 408, 409, 429, *range(500, 600)]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_an_engine_s_own_words_about_itself_are_not_passed_on(status: int) -> None:
    error = told(status, {"error": {"message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key"}})
    assert "sk-secret" not in error.message
    assert error.code != "invalid_api_key"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "bad temperature"}},
        {"error": "bad temperature"},
        {"message": "bad temperature"},
        {"object": "error", "message": "bad temperature", "type": "BadRequestError", "code": 400},
        {"detail": "bad temperature"},
        {"error": None, "message": "bad temperature"},
        {"error": {"message": None, "detail": "bad temperature"}},
    ],
)
def test_the_words_of_a_refusal_are_passed_on_in_every_shape(body: Any) -> None:
    assert told(400, body).message == "bad temperature"


@pytest.mark.parametrize(
    "body", [b"", b"<html><h1>400</h1></html>", b"\xff\xfe", b"[1]", b'"text"', b"[" * 100_000, b"{}", b'{"error":{}}']
)
def test_a_refusal_without_words_says_that_it_is_one(body: bytes) -> None:
    error = told(400, body)
    assert isinstance(error, UpstreamRefused)
    assert error.message == "the engine refused the request"
    assert (error.code, error.param) == ("invalid_request", None)


def test_a_body_that_is_too_large_for_the_engine_is_told_in_its_words_or_ours() -> None:
    assert told(413, {"error": "at most 5 MB"}).message == "at most 5 MB"
    assert told(413, b"<html>").message == "the engine says that the request is too large"


def test_details_of_a_framework_are_passed_on() -> None:
    error = told(422, {"detail": [{"loc": ["body", "n"], "msg": "must be positive"}]})
    assert "must be positive" in error.message


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ({"code": "unknown_parameter"}, "unknown_parameter"),
        ({"code": 400, "type": "invalid_request_error"}, "invalid_request"),
        ({"code": "400"}, "invalid_request"),
        ({"code": None, "type": "BadRequestError"}, "BadRequestError"),
        ({"code": ["a"]}, "invalid_request"),
        ({"code": "no spaces\n"}, "invalid_request"),
        ({"code": "x" * 5000}, "invalid_request"),
        ({"code": 400.0}, "invalid_request"),
    ],
)
def test_a_code_is_passed_on_if_it_is_one(inner: dict[str, Any], code: str) -> None:
    assert told(400, {"error": {"message": "m", **inner}}).code == code


@pytest.mark.parametrize(("param", "named"), [("n", "n"), (None, None), ("", None), (["n"], "['n']")])
def test_the_field_that_was_wrong_is_named(param: Any, named: str | None) -> None:
    assert told(400, {"error": {"message": "m", "param": param}}).param == named


@pytest.mark.parametrize(
    "inner",
    [
        {"message": "too long", "code": "context_length_exceeded"},
        {"message": "request (9) exceeds the available context size (5)", "type": "exceed_context_size_error"},
        {"message": "too long", "type": "exceed_context_size_error", "code": 400},
        {"message": "This model's maximum context length is 1024 tokens."},
        {"message": "Prompt exceeds the CONTEXT WINDOW"},
    ],
)
def test_a_prompt_that_is_too_long_is_not_worth_another_try(inner: dict[str, Any]) -> None:
    error = told(400, {"error": inner})
    assert isinstance(error, ContextTooLong)
    assert (error.code, error.param, error.retryable) == ("context_length_exceeded", "messages", False)
    assert error.message == inner["message"]
    streamed = from_error_object(json.dumps({**inner, "code": inner.get("code", 400)}).encode())
    assert isinstance(streamed, ContextTooLong)


def test_what_a_filter_stopped_is_not_worth_another_try() -> None:
    assert told(400, {"error": {"message": "m", "code": "content_filter"}}).retryable is False
    assert told(400, {"error": {"message": "m", "code": "other"}}).retryable is None


def test_long_words_are_cut() -> None:
    assert len(told(400, {"error": {"message": "x" * 10**6}}).message) == 2000
    assert len(from_error_object(json.dumps("x" * 10**6).encode()).message) < 600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("0.25", 0.25),
        (" 5 ", 5.0),
        ("-5", 0.0),
        ("60", 60.0),
        ("61", 60.0),
        ("2592000", 60.0),
        ("inf", 60.0),
        ("1e400", 60.0),
        ("nan", 0.0),
        (format_datetime(datetime.fromtimestamp(NOW + 30, UTC), usegmt=True), 30.0),
        (format_datetime(datetime.fromtimestamp(NOW - 30, UTC), usegmt=True), 0.0),
        (format_datetime(datetime.fromtimestamp(NOW + 10**6, UTC), usegmt=True), 60.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 60.0),
        ("", None),
        ("soon", None),
        ("\x00", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 25:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +9999999999", None),
        ("9" * 5000, 60.0),
    ],
)
def test_nobody_is_told_to_wait_for_more_than_a_minute(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds
    assert told(429, retry_after=text).retry_after_s == (seconds or 1.0)
    assert told(503, retry_after=text).retry_after_s == (seconds or 1.0)


def test_an_upstream_that_says_nothing_is_tried_after_a_second() -> None:
    assert retry_after({}, NOW) is None
    assert told(429).retry_after_s == 1.0
    assert told(503).retry_after_s == 1.0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"message":"m"}}', True),
        (b'{"error":"m"}', True),
        (b'{"id":1,"error":{"code":5}}', True),
        (b'{"error":null,"choices":[]}', False),
        (b'{"choices":[{"message":{"content":"\\"error\\""}}]}', False),
        (b'{"choices":[{"error":1}]}', False),
        (b'["error"]', False),
        (b'{"error":', False),
        (b"", False),
    ],
)
def test_an_error_that_came_with_a_status_of_200(body: bytes, error: bool) -> None:
    assert is_error_body(body) is error


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({"code": 400, "message": "m"}, UpstreamRefused),
        ({"status": 422, "message": "m"}, UpstreamRefused),
        ({"code": 413, "message": "m"}, BodyTooLarge),
        ({"code": 401, "message": "m"}, UpstreamBroken),
        ({"code": 408, "message": "m"}, UpstreamSilent),
        ({"code": 429, "message": "m"}, UpstreamBroken),
        ({"code": 503, "message": "m"}, UpstreamBroken),
        ({"code": 500, "message": "the context length is not known"}, UpstreamBroken),
        ({"code": "invalid", "status": 400, "message": "m"}, UpstreamRefused),
        ({"code": "overloaded"}, UpstreamBroken),
        ({"error": {"code": 400, "message": "m"}}, UpstreamRefused),
        ("text", UpstreamBroken),
        (None, UpstreamBroken),
        (7, UpstreamBroken),
    ],
)
def test_errors_in_a_stream_mean_the_same(found: Any, kind: type[SurplusError]) -> None:
    assert type(from_error_object(json.dumps(found).encode())) is kind
