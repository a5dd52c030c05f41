"""Faults of time and of the connection: late bytes, cuts, resets, odd writes."""

import asyncio
import itertools
from dataclasses import dataclass, replace

from tests.upstream.behaviour import Behaviour
from tests.upstream.reply import (
    Body,
    End,
    Ending,
    Event,
    FaultDoesNotApplyError,
    Generate,
    Head,
    Hold,
    Kind,
    Part,
    Pause,
    Prefill,
    Reply,
    Step,
)


@dataclass(frozen=True)
class HoldFirstByte(Behaviour):
    """The prompt is read, then nothing comes until ``gate`` is set (without one: until ``seen.release()``)."""

    gate: asyncio.Event | None = None

    def edit(self, reply: Reply) -> Reply:
        return reply.before_first_byte(Hold(self.gate))


@dataclass(frozen=True)
class DelayFirstByte(Behaviour):
    """The prompt is read, then nothing comes for ``seconds``."""

    seconds: float = 1.0

    def edit(self, reply: Reply) -> Reply:
        return reply.before_first_byte(Pause(self.seconds))


@dataclass(frozen=True)
class StallAfter(Behaviour):
    """After ``events``, nothing more comes until ``gate`` is set (without one: until ``seen.release()``)."""

    events: int = 3
    gate: asyncio.Event | None = None

    def edit(self, reply: Reply) -> Reply:
        return reply.insert_after(self.events, Hold(self.gate))


@dataclass(frozen=True)
class Paced(Behaviour):
    """``seconds`` before each token, so that a caller has time to leave."""

    seconds: float = 0.01

    def edit(self, reply: Reply) -> Reply:
        steps: list[Step] = []
        for step in reply.steps:
            if isinstance(step, Generate | Event) and step.tokens:
                steps.append(Pause(self.seconds))
            steps.append(step)
        return reply.with_steps(*steps)


@dataclass(frozen=True)
class CutAfter(Behaviour):
    """A clean FIN after ``events``, in the middle of the chunked body (no last chunk)."""

    events: int = 3

    def edit(self, reply: Reply) -> Reply:
        return reply.end_after(self.events, End(Ending.FIN))


@dataclass(frozen=True)
class EndAfter(Behaviour):
    """The stream ends after ``events`` as good HTTP, but with no finish_reason, no usage and no ``[DONE]``."""

    events: int = 3

    def edit(self, reply: Reply) -> Reply:
        reply.need_stream()
        return reply.end_after(self.events, End())


@dataclass(frozen=True)
class CloseBeforeAnyByte(Behaviour):
    """The prompt is read, then the connection closes without an answer."""

    def edit(self, reply: Reply) -> Reply:
        return _without_headers(reply, Ending.FIN)


@dataclass(frozen=True)
class ResetBeforeHeaders(Behaviour):
    """The prompt is read, then the connection is reset without an answer."""

    def edit(self, reply: Reply) -> Reply:
        return _without_headers(reply, Ending.RST)


@dataclass(frozen=True)
class ResetAfterHeaders(Behaviour):
    """Status and headers arrive, then a reset."""

    def edit(self, reply: Reply) -> Reply:
        at = next(at for at, step in enumerate(reply.steps) if isinstance(step, Head))
        head = replace(reply.steps[at], length=reply.content_length())
        return reply.with_steps(*reply.steps[:at], head, End(Ending.RST))


@dataclass(frozen=True)
class ResetAfter(Behaviour):
    """A reset after ``events``."""

    events: int = 3

    def edit(self, reply: Reply) -> Reply:
        return reply.end_after(self.events, End(Ending.RST))


@dataclass(frozen=True)
class HalfEventAfter(Behaviour):
    """After ``events``, the first half of the next one, then a FIN."""

    events: int = 3

    def edit(self, reply: Reply) -> Reply:
        whole = reply.event_at(self.events)
        raw = whole.encode()
        half = replace(whole, raw=raw[: len(raw) // 2], count=0, whole=False)
        return reply.end_after(self.events, half, End(Ending.FIN))


@dataclass(frozen=True)
class TruncatedBody(Behaviour):
    """``Content-Length`` promises the whole body; half of it comes, then a FIN. A stream is sent with a length too."""

    def edit(self, reply: Reply) -> Reply:
        parts = [step for step in reply.steps if isinstance(step, Event | Body)]
        size = sum(len(part.encode()) for part in parts)
        kept = parts[: len(parts) // 2] if reply.stream else [_half(part) for part in parts]
        steps = [replace(step, length=size) if isinstance(step, Head) else step for step in reply.steps]
        before = [step for step in steps if not isinstance(step, Event | Body | End)]
        return reply.with_steps(*before, *kept, End(Ending.FIN))


@dataclass(frozen=True)
class OneByteWrites(Behaviour):
    """Every byte of the body is written alone, in an HTTP chunk of its own where the reply is chunked."""

    def edit(self, reply: Reply) -> Reply:
        return reply.map_parts(lambda part: replace(part, split=True))


@dataclass(frozen=True)
class TogetherBy(Behaviour):
    """``events`` SSE events per write."""

    events: int = 3

    def edit(self, reply: Reply) -> Reply:
        reply.need_stream()
        steps: list[Step] = []
        for step in reply.steps:
            last = steps[-1] if steps else None
            if isinstance(step, Event) and isinstance(last, Event) and last.count < self.events:
                steps[-1] = _merged(last, step)
            else:
                steps.append(step)
        return reply.with_steps(*steps)


@dataclass(frozen=True)
class CrlfLines(Behaviour):
    """SSE lines end in CRLF, which the specification allows."""

    def edit(self, reply: Reply) -> Reply:
        reply.need_stream()
        return reply.map_parts(lambda part: replace(part, raw=part.encode().replace(b"\n", b"\r\n")))


@dataclass(frozen=True)
class Comments(Behaviour):
    """A comment line, as keep-alives are sent, before every event."""

    text: str = "keep-alive"

    def edit(self, reply: Reply) -> Reply:
        reply.need_stream()
        comment = Event(Kind.OTHER, raw=f": {self.text}\n\n".encode(), count=0)
        steps: list[Step] = []
        for step in reply.steps:
            steps += [comment, step] if isinstance(step, Event) else [step]
        return reply.with_steps(*steps)


@dataclass(frozen=True)
class HugeEvent(Behaviour):
    """The event after ``events`` (the body, when not a stream) holds ``size`` bytes more, in a field of no use."""

    events: int = 1
    size: int = 2_000_000

    def edit(self, reply: Reply) -> Reply:
        target = reply.event_at(self.events) if reply.stream else None

        def grow(part: Part) -> Part:
            if part.payload is None or (reply.stream and part is not target):
                return part
            return replace(part, payload={**part.payload, "padding": "x" * self.size})

        return reply.map_parts(grow)


def _without_headers(reply: Reply, how: Ending) -> Reply:
    early = itertools.takewhile(lambda step: isinstance(step, Prefill | Hold | Pause), reply.steps)
    return reply.with_steps(*early, End(how))


def _half(part: Part) -> Part:
    raw = part.encode()
    if len(raw) < 2:
        raise FaultDoesNotApplyError("the reply has no body to cut in half")
    return replace(part, raw=raw[: len(raw) // 2], whole=False)


def _merged(first: Event, second: Event) -> Event:
    return Event(
        second.kind,
        raw=first.encode() + second.encode(),
        tokens=first.tokens + second.tokens,
        count=first.count + second.count,
        split=first.split,
    )
