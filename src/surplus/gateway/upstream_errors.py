"""What an engine's refusal means to our caller.

The caller's own mistakes (4xx about the request) are passed on in the caller's error shape; ours (a wrong key or path
towards the engine) and the engine's are not the caller's fault and must not look like it. `may_help` says whether
another replica, or the same one again, could answer.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

import msgspec

from surplus.gateway.errors import (
    BodyTooLarge,
    ContextTooLong,
    NoCapacity,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamSilent,
)
from surplus.kit.errors import SurplusError

RETRY_AFTER_MAX_S: Final = 60.0
"""Clients sleep for as long as they are told; nobody should sleep for longer than this."""

_CONTEXT_CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CODE: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,99}")
_CONTEXT_WORDS: Final = ("maximum context length", "context length", "context size", "context window")

_decoder: Final = msgspec.json.Decoder(dict[str, Any])


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _error_object(body: bytes) -> Mapping[str, Any] | None:
    """The error of a body, in any shape that engines use: `{"error": {...}}`, `{"error": "..."}`, `{"message"}`,
    `{"detail"}`.
    """
    decoded = _object(body)
    if decoded is None:
        return None
    inner = decoded.get("error") or decoded
    if isinstance(inner, dict):
        found = cast("dict[str, Any]", inner)
        return found if found.get("message") else {**found, "message": found.get("detail")}
    return {"message": str(inner)}


def is_error_body(body: bytes) -> bool:
    """True if a body that came with status 200 is an error all the same."""
    if b'"error"' not in body[:4096]:
        return False
    return bool((_object(body) or {}).get("error"))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an upstream asks us to wait, at most RETRY_AFTER_MAX_S; None where it does not say."""
    text = headers.get("retry-after", "")
    try:
        return min(RETRY_AFTER_MAX_S, max(0.0, float(text)))
    except ValueError:
        pass
    try:
        return min(RETRY_AFTER_MAX_S, max(0.0, parsedate_to_datetime(text).timestamp() - now))
    except ValueError:
        return None


def may_help(status: int) -> bool:
    """True if trying again, here or elsewhere, can help after this status."""
    return status in {401, 403, 404, 408, 409, 429} or status >= 500


def from_status(status: int, headers: Mapping[str, str], body: bytes, now: float) -> SurplusError:
    """The error for our caller after the engine answered with a status other than 200."""
    found = _error_object(body) or {}
    words = str(found.get("message") or "")[:2000]
    code = str(found.get("code") or found.get("type") or "")
    if status == 429:
        message = "the provider behind this model is limiting the rate at which this server may call it; try again soon"
        return UpstreamLimited(message, retry_after_s=retry_after(headers, now) or 1.0)
    if status == 413:
        return BodyTooLarge(words or "the engine says that the request is too large")
    if status in {400, 409, 422}:
        return _refused(words, code, str(found.get("type") or ""), found.get("param"))
    if status in {408, 504}:
        return UpstreamSilent("the engine did not answer in time; try again")
    if status == 503:
        message = "the engine is overloaded or starting; try again in a moment"
        return NoCapacity(message, retry_after_s=retry_after(headers, now) or 1.0)
    return UpstreamBroken(f"the engine behind this model answered with status {status}; try again")


def _refused(words: str, code: str, kind: str, param: object) -> SurplusError:
    lowered = words.lower()
    if code in _CONTEXT_CODES or kind in _CONTEXT_CODES or any(phrase in lowered for phrase in _CONTEXT_WORDS):
        return ContextTooLong(words or "the request is longer than the model's context", param="messages")
    error = UpstreamRefused(words or "the engine refused the request", param=str(param) if param else None)
    if _CODE.fullmatch(code):
        error.code = code
    if code == "content_filter":
        error.retryable = False
    return error


def from_error_object(raw: bytes) -> SurplusError:
    """The error that a stream carries as an event: `raw` is the JSON of its `error` field."""
    found = _error_object(raw) or {"message": raw.decode(errors="replace").strip('"')[:200]}
    status = next((found[name] for name in ("code", "status") if isinstance(found.get(name), int)), 502)
    if isinstance(status, int) and 400 <= status < 500 and status != 429:
        return from_status(status, {}, msgspec.json.encode(found), 0.0)
    if found.get("type") == "exceed_context_size_error" or found.get("code") in _CONTEXT_CODES:
        return ContextTooLong(str(found.get("message")), param="messages")
    return UpstreamBroken(
        f"the engine failed while it was answering: {str(found.get('message') or 'no reason given')[:500]}"
    )
