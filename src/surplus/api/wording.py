"""How the control plane tells of an error; what nothing of its framework is needed for."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from surplus.kit.errors import SurplusError

RETRY_AFTER_MAX_S: Final = 60
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


def answer(error: SurplusError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells a caller about an error."""
    body = {"message": error.message, "code": error.code, "param": error.param, "detail": dict(error.detail)}
    sent = dict(headers or {})
    if error.status == HTTPStatus.UNAUTHORIZED:
        sent["www-authenticate"] = "Bearer"
    if error.retry_after_s is not None and error.retryable is not False:
        sent["retry-after"] = str(min(RETRY_AFTER_MAX_S, max(1, round(error.retry_after_s))))
    return Response(_encode({"error": body}), error.status, sent, media_type="application/json")
