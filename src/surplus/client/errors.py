"""What can go wrong between a client and a server. Messages say what happened, why, and what to do next."""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Base of every error that a Client raises."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiError(ClientError):
    """The server refused. `request_id` finds the request in the server's log; `detail` has the facts as data."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        request_id: str | None = None,
        *,
        param: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.param = param
        self.detail: Mapping[str, Any] = detail or {}


class BadArgument(ClientError):
    """An argument does not fit the schema of the request; nothing was sent."""


class Unreachable(ClientError):
    """No answer: nothing listens there, the connection broke, or the server took too long."""


class BadAnswer(ClientError):
    """Something answered that is not a Surplus server, or one of another version."""
