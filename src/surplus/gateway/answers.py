"""Answers that are not streams: one JSON object, checked, measured, and passed on as it came."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from surplus.gateway.body import Body
from surplus.gateway.errors import UpstreamBroken
from surplus.gateway.meter import openai_usage
from surplus.metering.usage import TokenUsage


class _Reply(msgspec.Struct):
    usage: dict[str, Any] | None = None
    id: str | None = None


_reply: Final = msgspec.json.Decoder(_Reply)
_object: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete answer: its bytes, its usage (None where the engine gave none), and whether that had to be mended."""

    data: bytes
    usage: TokenUsage | None
    degraded: bool
    engine_id: str | None


def read_whole(data: bytes) -> Whole:
    """Measure an answer. Raises UpstreamBroken if it is not a JSON object."""
    try:
        reply = _reply.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "the engine's answer is not JSON; try again"
        raise UpstreamBroken(message) from error
    if reply.usage is None:
        return Whole(data, None, degraded=True, engine_id=reply.id)
    usage, degraded = TokenUsage.from_openai(reply.usage)
    return Whole(data, usage, degraded, reply.id)


def count_choices(body: Body, whole: Whole) -> Whole:
    """The answer of an engine that reports the usage of one choice only, with all choices counted.

    The engine was asked for log probabilities, which it gives for every token that it generated; they are taken out
    again unless the caller asked for them too.
    """
    if whole.usage is None:
        return whole
    reply = _object.decode(whole.data)
    counts = [_tokens(choice) for choice in reply.get("choices", [])]
    if not counts or None in counts:
        return Whole(whole.data, whole.usage, degraded=True, engine_id=whole.engine_id)
    usage = TokenUsage(
        uncached=whole.usage.uncached,
        cache_read=whole.usage.cache_read,
        cache_write=whole.usage.cache_write,
        output=sum(count for count in counts if count is not None),
    )
    if not body.wants_logprobs:
        for choice in reply["choices"]:
            choice.pop("logprobs")
    reply["usage"] = openai_usage(usage)
    return Whole(msgspec.json.encode(reply), usage, whole.degraded, whole.engine_id)


def _tokens(choice: Any) -> int | None:
    try:
        return len(choice["logprobs"]["content"])
    except (KeyError, TypeError):
        return None
