"""The one shape of every error of the control plane."""

from typing import Any

from pydantic import Field

from surplus.wire.base import Answer


class ErrorBody(Answer):
    """What went wrong, why, and what to do next. Programs branch on `code`."""

    message: str
    code: str = Field(examples=["invalid_request"])
    param: str | None = Field(description="The field or parameter at fault, where there is one.")
    detail: dict[str, Any] = Field(description="The facts of the message as data; which ones depends on the code.")


class ErrorAnswer(Answer):
    """Every answer with a status of 400 or more. Its id is in the headers `x-request-id` and `request-id`."""

    error: ErrorBody
