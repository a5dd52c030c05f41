"""Every error of the control plane in its one shape, and which of them a route declares."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from surplus.api.wording import answer
from surplus.kit.errors import BadRequest, MethodNotAllowed, NotFound, SurplusError, TooLarge
from surplus.wire.errors import ErrorAnswer

log: Final = logging.getLogger(__name__)

PROBLEMS_MAX: Final = 10
UNEXPECTED: Final = "something failed on our side that should not; tell the operator the id in x-request-id"
_MEANING: Final = {
    400: "The request breaks a rule.",
    401: "No key, or one that is wrong, expired or revoked.",
    403: "The key's role does not allow this.",
    404: "Nothing of this name or id is visible to the caller.",
    409: "The request contradicts what is already there.",
    503: "The server, or its database, cannot answer now.",
}
_WORDS: Final[Mapping[str, str]] = {
    "json_invalid": "the body is not JSON",
    "extra_forbidden": "there is no such field",
    "model_attributes_type": "the body is not a JSON object sent as application/json",
    "missing": "it is required",
}
"""Of the problems that pydantic finds, those that it does not put into words for the caller of an API."""


def declared(*more: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route that needs a key; `more` are its own statuses."""
    statuses = sorted({400, 401, 403, 503, *more})
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Have all errors that have a name answered here. Those without one end in `middleware.Edge`."""
    app.exception_handlers[SurplusError] = _named
    app.exception_handlers[HTTPException] = _of_the_framework
    app.exception_handlers[RequestValidationError] = _invalid


async def _named(request: Request, error: Exception) -> Response:
    assert isinstance(error, SurplusError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        fields = {"request": request.state.request_id, "code": error.code, "why": error.message}
        log.error("a control-plane request failed", extra={"fields": fields})
    return answer(error)


async def _of_the_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            named: SurplusError = NotFound(f"there is no {path} here; /api/docs shows what there is")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            named = MethodNotAllowed(f"{path} does not take {request.method}; /api/docs shows what it takes")
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            named = TooLarge("the body is larger than any that the control plane takes; send what its schema asks for")
        case _:
            named = BadRequest("the body cannot be read; send one JSON object in UTF-8")
    return answer(named, error.headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    """A body or parameter that does not fit its schema. What was sent is not repeated: it may be a secret."""
    assert isinstance(error, RequestValidationError)
    problems = [_problem(one) for one in error.errors()[:PROBLEMS_MAX]]
    told = "; ".join(f"{one['field']}: {one['problem']}" if one["field"] else one["problem"] for one in problems)
    message = f"the request does not fit its schema ({told}); /api/docs shows the schema"
    return answer(BadRequest(message, param=problems[0]["field"] or None, detail={"problems": problems}))


def _problem(found: Mapping[str, Any]) -> dict[str, str]:
    """The field, as in `limits.rpm` (a place in text that is not JSON has none), and what is wrong with it."""
    field = ".".join(part for part in found["loc"][1:] if isinstance(part, str))
    words = _WORDS.get(found["type"], str(found["msg"]))
    return {"field": field.encode(errors="replace").decode(), "problem": words}  # half a character cannot be sent back
