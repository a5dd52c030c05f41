"""A reply as a list of steps that the wire plays in order. Faults are edits of that list."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class FaultDoesNotApplyError(ValueError):
    """A plan that would leave the reply healthy. Raised so that no test passes because its fault did nothing."""


class Kind(StrEnum):
    """What an SSE event is for."""

    ROLE = "role"
    CONTENT = "content"
    FINISH = "finish"
    USAGE = "usage"
    DONE = "done"
    OTHER = "other"


class Ending(StrEnum):
    """How the last step leaves the connection."""

    COMPLETE = "complete"  # the HTTP message ends as it should
    FIN = "fin"  # the connection closes, whatever the HTTP framing promised
    RST = "rst"  # the connection is reset


def encode_json(payload: Any) -> bytes:
    """Compact UTF-8 JSON, so that text outside ASCII stands as itself on the wire."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Prefill:
    """The model reads the prompt: from here on the prompt counts as work done."""


@dataclass(frozen=True)
class Generate:
    """The model makes a token that no byte of the wire shows yet (replies that are not streams)."""

    tokens: int = 1


@dataclass(frozen=True)
class Head:
    """Status line and headers. ``length`` None: the size of the body, or chunked where events follow."""

    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


@dataclass(frozen=True)
class Event:
    """One write of an event stream: usually one SSE event, ``count`` of them when merged, 0 for a comment.

    ``split`` writes every byte alone, as an HTTP chunk of its own. Not ``whole``: its tokens never count as sent.
    """

    kind: Kind
    payload: Json | None = None
    raw: bytes | None = None
    tokens: int = 0
    count: int = 1
    split: bool = False
    whole: bool = True

    def encode(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"data: " + encode_json(self.payload) + b"\n\n"


@dataclass(frozen=True)
class Body:
    """The whole body of a reply that is not a stream."""

    payload: Json | None = None
    raw: bytes | None = None
    split: bool = False
    whole: bool = True

    def encode(self) -> bytes:
        return encode_json(self.payload) if self.raw is None else self.raw


@dataclass(frozen=True)
class Hold:
    """Wait until the gate opens (the request's own gate when None), or the peer leaves."""

    gate: asyncio.Event | None = None


@dataclass(frozen=True)
class Pause:
    """Wait for some seconds, or until the peer leaves."""

    seconds: float


@dataclass(frozen=True)
class End:
    """The last step."""

    how: Ending = Ending.COMPLETE


Step = Prefill | Generate | Head | Event | Body | Hold | Pause | End
Part = Event | Body


@dataclass(frozen=True)
class Reply:
    """Steps, and what a fault may ask of the request: its body, and whether it is answered as a stream."""

    steps: tuple[Step, ...]
    stream: bool = False
    request: Any = None

    def with_steps(self, *steps: Step) -> "Reply":
        return replace(self, steps=steps)

    def before_first_byte(self, *steps: Step) -> "Reply":
        """Put steps after the prompt was read and before anything is written or generated."""
        at = 1 if isinstance(self.steps[0], Prefill) else 0
        return self.with_steps(*self.steps[:at], *steps, *self.steps[at:])

    def insert_after(self, events: int, *steps: Step) -> "Reply":
        """Put steps after that many events (tokens, when not a stream)."""
        at = self._position(events)
        return self.with_steps(*self.steps[:at], *steps, *self.steps[at:])

    def end_after(self, events: int, *steps: Step) -> "Reply":
        """Put steps after that many events (tokens, when not a stream), and drop all that would follow."""
        return self.with_steps(*self.steps[: self._position(events)], *steps)

    def event_at(self, events: int) -> Event:
        """The event that follows that many events; streams only."""
        self.need_stream()
        for step in self.steps[self._position(events) :]:
            if isinstance(step, Event) and step.count:
                return step
        raise FaultDoesNotApplyError(f"the stream has no event after the first {events}")

    def map_parts(self, change: Callable[[Part], Part]) -> "Reply":
        """Change every event and the body."""
        return self.with_steps(*(change(step) if isinstance(step, Event | Body) else step for step in self.steps))

    def map_payloads(self, change: Callable[[Json], Json]) -> "Reply":
        """Change every JSON object of the reply; ``change`` returns a new one."""

        def change_part(part: Part) -> Part:
            return part if part.payload is None else replace(part, payload=change(part.payload))

        return self.map_parts(change_part)

    def without(self, kind: Kind) -> "Reply":
        """Drop the events of a kind; streams only."""
        self.need_stream()
        kept = tuple(step for step in self.steps if not (isinstance(step, Event) and step.kind is kind))
        if len(kept) == len(self.steps):
            raise FaultDoesNotApplyError(f"the stream has no {kind} event to leave out")
        return self.with_steps(*kept)

    def need_stream(self) -> None:
        if not self.stream:
            raise FaultDoesNotApplyError("this fault needs a request with stream=true")

    def content_length(self) -> int | None:
        """Bytes of the body, or None where events follow and the reply is chunked."""
        for step in self.steps:
            if isinstance(step, Head) and step.length is not None:
                return step.length
            if isinstance(step, Body):
                return len(step.encode())
        return None

    def _position(self, events: int) -> int:
        """Index of the step right after that many events; 0 is right after the headers of a stream."""
        counted, first = (Event, Head) if self.stream else (Generate, Prefill)
        left = events
        for at, step in enumerate(self.steps):
            if isinstance(step, counted):
                left -= step.count if isinstance(step, Event) else 1
            if left <= 0 and isinstance(step, (counted, first)):
                return at + 1
        raise FaultDoesNotApplyError(f"the reply ends before event {events}: nothing to do there")
