"""Replies with a status of 400 or more. The engine reads no prompt: its usage is zero."""

from dataclasses import dataclass, replace
from typing import Any

from tests.upstream import shapes
from tests.upstream.behaviour import Behaviour
from tests.upstream.reply import Body, End, Head, Json, Reply


@dataclass(frozen=True)
class RateLimited(Behaviour):
    """429. ``retry_after`` is sent as it stands: seconds, a huge number, an HTTP date; empty: no header."""

    retry_after: str = ""

    def edit(self, reply: Reply) -> Reply:
        headers = (("retry-after", self.retry_after),) if self.retry_after else ()
        body = shapes.error("too many requests", "rate_limit_error", "rate_limit_exceeded")
        return refusal(reply, 429, body, headers)


@dataclass(frozen=True)
class ServerError(Behaviour):
    """500, 502, 503 or another 5xx; ``html`` answers as a proxy in front of the engine does."""

    status: int = 500
    html: bool = False

    def edit(self, reply: Reply) -> Reply:
        if self.html:
            page = Body(raw=f"<html><h1>{self.status}</h1><hr>nginx</html>".encode())
            steps = (Head(self.status, content_type="text/html"), page, End())
            return replace(reply.with_steps(*steps), stream=False)
        return refusal(reply, self.status, shapes.error("the engine failed", "server_error", "internal_error"))


@dataclass(frozen=True)
class ContextLengthExceeded(Behaviour):
    """400 with code ``context_length_exceeded``."""

    def edit(self, reply: Reply) -> Reply:
        message = "This model's maximum context length is 1024 tokens. Please reduce the length of the messages."
        return refusal(
            reply, 400, shapes.error(message, "invalid_request_error", "context_length_exceeded", "messages")
        )


@dataclass(frozen=True)
class ContentFiltered(Behaviour):
    """400 with code ``content_filter``."""

    def edit(self, reply: Reply) -> Reply:
        message = "The prompt was refused by the content filter."
        return refusal(reply, 400, shapes.error(message, "invalid_request_error", "content_filter", "prompt"))


@dataclass(frozen=True)
class Unauthorized(Behaviour):
    """401 in vLLM's shape, where ``error`` is a string."""

    def edit(self, reply: Reply) -> Reply:
        return refusal(reply, 401, {"error": "Unauthorized"})


@dataclass(frozen=True)
class NotFound(Behaviour):
    """404: the model is not there."""

    def edit(self, reply: Reply) -> Reply:
        return refusal(
            reply, 404, shapes.error("The model does not exist.", "invalid_request_error", "model_not_found")
        )


@dataclass(frozen=True)
class TooLarge(Behaviour):
    """413."""

    def edit(self, reply: Reply) -> Reply:
        return refusal(reply, 413, shapes.error("The request body is too large.", "invalid_request_error"))


@dataclass(frozen=True)
class RejectsStreamOptions(Behaviour):
    """400 to a body that has ``stream_options``, as some remote APIs answer; others pass."""

    def edit(self, reply: Reply) -> Reply:
        if "stream_options" not in (reply.request or {}):
            return reply
        message = "Unknown parameter: 'stream_options'."
        return refusal(
            reply, 400, shapes.error(message, "invalid_request_error", "unknown_parameter", "stream_options")
        )


def refusal(reply: Reply, status: int, body: Json, headers: tuple[tuple[str, Any], ...] = ()) -> Reply:
    """Replace the whole reply by a status and an error body."""
    return replace(reply.with_steps(Head(status, headers=headers), Body(body), End()), stream=False)
