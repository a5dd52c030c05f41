"""The catalogue: every fault by name, for plans (``Fault.CutAfter(3)``) and for tags (``[[fault=cut_after:3]]``)."""

import asyncio
import dataclasses
import re
from dataclasses import dataclass

from tests.upstream import behaviour, refusals, stream_faults, traits, usage_faults, wire_faults
from tests.upstream.behaviour import Behaviour
from tests.upstream.reply import FaultDoesNotApplyError


class Fault:
    """All behaviours in one namespace. Their docstrings say what each does."""

    Healthy = behaviour.Healthy

    Answer = traits.Answer
    Cached = traits.Cached
    Reasoning = traits.Reasoning
    ContinuousUsage = traits.ContinuousUsage

    HoldFirstByte = wire_faults.HoldFirstByte
    DelayFirstByte = wire_faults.DelayFirstByte
    StallAfter = wire_faults.StallAfter
    Paced = wire_faults.Paced
    CutAfter = wire_faults.CutAfter
    EndAfter = wire_faults.EndAfter
    CloseBeforeAnyByte = wire_faults.CloseBeforeAnyByte
    ResetBeforeHeaders = wire_faults.ResetBeforeHeaders
    ResetAfterHeaders = wire_faults.ResetAfterHeaders
    ResetAfter = wire_faults.ResetAfter
    HalfEventAfter = wire_faults.HalfEventAfter
    TruncatedBody = wire_faults.TruncatedBody
    OneByteWrites = wire_faults.OneByteWrites
    TogetherBy = wire_faults.TogetherBy
    CrlfLines = wire_faults.CrlfLines
    Comments = wire_faults.Comments
    HugeEvent = wire_faults.HugeEvent

    MalformedJson = stream_faults.MalformedJson
    MalformedSse = stream_faults.MalformedSse
    InvalidUtf8 = stream_faults.InvalidUtf8
    ErrorEventFirst = stream_faults.ErrorEventFirst
    ErrorEventAfter = stream_faults.ErrorEventAfter
    NoDone = stream_faults.NoDone
    NoFinishReason = stream_faults.NoFinishReason
    WrongContentType = stream_faults.WrongContentType
    ErrorBodyWithStatus200 = stream_faults.ErrorBodyWithStatus200
    HtmlWithStatus200 = stream_faults.HtmlWithStatus200
    EmptyBody = stream_faults.EmptyBody

    NoUsage = usage_faults.NoUsage
    ZeroUsage = usage_faults.ZeroUsage
    NegativeUsage = usage_faults.NegativeUsage
    CachedAbovePrompt = usage_faults.CachedAbovePrompt
    UsageAboveLimit = usage_faults.UsageAboveLimit
    NullUsageDetails = usage_faults.NullUsageDetails
    UsageOnFinish = usage_faults.UsageOnFinish

    RateLimited = refusals.RateLimited
    ServerError = refusals.ServerError
    ContextLengthExceeded = refusals.ContextLengthExceeded
    ContentFiltered = refusals.ContentFiltered
    Unauthorized = refusals.Unauthorized
    NotFound = refusals.NotFound
    TooLarge = refusals.TooLarge
    RejectsStreamOptions = refusals.RejectsStreamOptions


def _tag_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


CATALOGUE: dict[str, type[Behaviour]] = {
    _tag_name(name): value
    for name, value in vars(Fault).items()
    if isinstance(value, type) and issubclass(value, Behaviour)
}

# [[fault=name:argument:argument@upstream]]; "once" in place of "fault" bites only on the first request with this text.
_TAG = re.compile(r"\[\[(fault|once)=([a-z0-9_]+)((?::[^:@\[\]]*)*)(?:@([\w-]+))?\]\]")


@dataclass(frozen=True)
class Tag:
    """A behaviour asked for inside a message. ``text`` is the tag as written."""

    text: str
    behaviour: Behaviour
    once: bool


def tags(message: str, upstream: str) -> list[Tag]:
    """The tags of a message that are meant for this upstream: those with its name, and those with none."""
    found: list[Tag] = []
    for match in _TAG.finditer(message):
        word, name, arguments, only = match.groups()
        if only is None or only == upstream:
            found.append(Tag(match.group(), _behaviour(name, arguments.split(":")[1:]), once=word == "once"))
    return found


def _behaviour(name: str, arguments: list[str]) -> Behaviour:
    if name not in CATALOGUE:
        raise FaultDoesNotApplyError(f"no fault is called {name!r}; the names are {', '.join(sorted(CATALOGUE))}")
    kind = CATALOGUE[name]
    fields = [field for field in dataclasses.fields(kind) if field.type != asyncio.Event | None]
    if len(arguments) > len(fields):
        raise FaultDoesNotApplyError(f"the fault {name!r} takes {len(fields)} arguments, not {len(arguments)}")
    return kind(**{field.name: _value(field.type, text) for field, text in zip(fields, arguments, strict=False)})


def _value(kind: type, text: str) -> object:
    return text == "true" if kind is bool else kind(text)
