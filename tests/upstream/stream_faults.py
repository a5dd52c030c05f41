"""Faults of what the body says: broken JSON, broken SSE, missing ends, errors in the wrong place."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.upstream import shapes
from tests.upstream.behaviour import Behaviour
from tests.upstream.reply import Body, End, Event, FaultDoesNotApplyError, Head, Json, Kind, Part, Reply, encode_json

_OVERLOADED = shapes.error("the engine is overloaded", "server_error", "overloaded")
_TEXT_STARTS = (b'"content":"', b'"text":"', b'"arguments":"')


@dataclass(frozen=True)
class MalformedJson(Behaviour):
    """The event after ``events`` (the whole body, when not a stream) is JSON that breaks off half-way."""

    events: int = 2

    def edit(self, reply: Reply) -> Reply:
        return _with_part(reply, self.events, _broken_json)


@dataclass(frozen=True)
class MalformedSse(Behaviour):
    """After ``events``, bytes that are no SSE: no field name, NUL bytes, then the stream goes on."""

    events: int = 2

    def edit(self, reply: Reply) -> Reply:
        reply.need_stream()
        garbage = Event(Kind.OTHER, raw=b"\x00\x01garbage {]\x7f\n\n", count=0)
        return reply.insert_after(self.events, garbage)


@dataclass(frozen=True)
class InvalidUtf8(Behaviour):
    """The text of the event after ``events`` (of the whole body, when not a stream) begins with bytes FF FE."""

    events: int = 2

    def edit(self, reply: Reply) -> Reply:
        return _with_part(reply, self.events, _invalid_utf8)


@dataclass(frozen=True)
class ErrorEventAfter(Behaviour):
    """After ``events`` (0: as the first frame), ``data: {"error": …}`` under status 200, then the end of the stream.

    ``done`` adds ``[DONE]`` after the error, as vLLM does; llama.cpp ends without.
    """

    events: int = 3
    done: bool = False

    def edit(self, reply: Reply) -> Reply:
        reply.need_stream()
        after = [Event(Kind.DONE, raw=b"data: [DONE]\n\n")] if self.done else []
        return reply.end_after(self.events, Event(Kind.OTHER, _OVERLOADED), *after, End())


@dataclass(frozen=True)
class ErrorEventFirst(Behaviour):
    """Status 200, and the first frame is ``data: {"error": …}``."""

    def edit(self, reply: Reply) -> Reply:
        return ErrorEventAfter(0).edit(reply)


@dataclass(frozen=True)
class NoDone(Behaviour):
    """The stream ends as good HTTP without ``[DONE]``."""

    def edit(self, reply: Reply) -> Reply:
        return reply.without(Kind.DONE)


@dataclass(frozen=True)
class NoFinishReason(Behaviour):
    """finish_reason stays null to the end."""

    def edit(self, reply: Reply) -> Reply:
        def unfinished(payload: Json) -> Json:
            choices = [{**choice, "finish_reason": None} for choice in payload.get("choices", ())]
            return {**payload, "choices": choices}

        return reply.map_payloads(unfinished)


@dataclass(frozen=True)
class WrongContentType(Behaviour):
    """The right body under another content type."""

    content_type: str = "text/plain"

    def edit(self, reply: Reply) -> Reply:
        steps = [
            replace(step, content_type=self.content_type) if isinstance(step, Head) else step for step in reply.steps
        ]
        return reply.with_steps(*steps)


@dataclass(frozen=True)
class ErrorBodyWithStatus200(Behaviour):
    """Status 200 and an error object as the whole body, to a stream request too."""

    def edit(self, reply: Reply) -> Reply:
        return replace(reply.with_steps(Head(), Body(_OVERLOADED), End()), stream=False)


@dataclass(frozen=True)
class HtmlWithStatus200(Behaviour):
    """Status 200 and a page of HTML, as a captive proxy answers."""

    def edit(self, reply: Reply) -> Reply:
        page = Body(raw=b"<!doctype html><title>Sign in</title><p>Please sign in.</p>")
        return replace(reply.with_steps(Head(content_type="text/html"), page, End()), stream=False)


@dataclass(frozen=True)
class EmptyBody(Behaviour):
    """Status 200 and not one byte of body."""

    def edit(self, reply: Reply) -> Reply:
        head = next(step for step in reply.steps if isinstance(step, Head))
        return replace(reply.with_steps(replace(head, length=0), End()), stream=False)


def _with_part(reply: Reply, events: int, change: Callable[[Part], Part]) -> Reply:
    """Change the event after that many (the body, when not a stream)."""
    target = reply.event_at(events) if reply.stream else None
    return reply.map_parts(lambda part: change(part) if part is target or isinstance(part, Body) else part)


def _broken_json(part: Part) -> Part:
    if part.payload is None:
        raise FaultDoesNotApplyError("there is no JSON to break in that place")
    text = encode_json(part.payload)
    broken = text[: len(text) // 2]
    return replace(part, raw=broken if isinstance(part, Body) else b"data: " + broken + b"\n\n")


def _invalid_utf8(part: Part) -> Part:
    raw = part.encode()
    for start in _TEXT_STARTS:
        if start in raw:
            return replace(part, raw=raw.replace(start, start + b"\xff\xfe", 1))
    raise FaultDoesNotApplyError("there is no text to corrupt in that place")
