"""Answers that are not streams: one JSON object, checked, measured, and passed on as it came."""

from dataclasses import dataclass, replace
from typing import Any, Final, cast

import msgspec

from surplus.gateway.body import Body
from surplus.gateway.errors import UpstreamBroken
from surplus.gateway.meter import openai_usage
from surplus.metering.usage import TokenUsage


class _Reply(msgspec.Struct):
    usage: dict[str, Any] | None = None
    id: str | None = None
    choices: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


_reply: Final = msgspec.json.Decoder(_Reply)
_object: Final = msgspec.json.Decoder(dict[str, Any])
_ID_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete answer: its bytes, its usage (None where the engine gave none), and whether that had to be mended."""

    data: bytes
    usage: TokenUsage | None
    degraded: bool
    engine_id: str | None


def read_whole(data: bytes) -> Whole:
    """Measure an answer. Raises UpstreamBroken if it is not a JSON object with `choices` or `data`."""
    try:
        reply = _reply.decode(data)
        data.decode()  # the decoder checks only the strings that it keeps
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "the engine's answer is not JSON; try again"
        raise UpstreamBroken(message) from error
    if not reply.choices and not reply.data:
        message = "the engine's answer is JSON, but holds no answer; try again"
        raise UpstreamBroken(message)
    engine_id = reply.id[:_ID_MAX] if reply.id is not None else None
    if reply.usage is None:
        return Whole(data, None, degraded=True, engine_id=engine_id)
    usage, degraded = TokenUsage.from_openai(reply.usage)
    if not usage.input:  # no prompt is empty: these are no figures
        return Whole(data, None, degraded=True, engine_id=engine_id)
    return Whole(data, usage, degraded, engine_id)


def count_choices(body: Body, whole: Whole) -> Whole:
    """The answer of an engine that reports the usage of one choice only, with all choices counted.

    The engine was asked for log probabilities, which it gives for every token that it generated; they are taken out
    again unless the caller asked for them too. A choice without them counts as much as the one that was reported.
    """
    if whole.usage is None:
        return whole
    try:
        reply = _object.decode(whole.data)
    except msgspec.DecodeError:  # a number that fits no float; what is only passed on is not looked at so closely
        return replace(whole, degraded=True)
    given: list[Any] = reply["choices"] if isinstance(reply.get("choices"), list) else []
    if not given:
        return replace(whole, degraded=True)
    counts = [_tokens(choice) for choice in given]
    usage = TokenUsage(
        uncached=whole.usage.uncached,
        cache_read=whole.usage.cache_read,
        cache_write=whole.usage.cache_write,
        output=sum(count if count is not None else whole.usage.output for count in counts),
    )
    if not body.wants_logprobs:
        for choice in given:
            if isinstance(choice, dict):
                cast("dict[str, Any]", choice).pop("logprobs", None)
    reply["usage"] = openai_usage(usage)
    return Whole(msgspec.json.encode(reply), usage, whole.degraded or None in counts, whole.engine_id)


def _tokens(choice: Any) -> int | None:
    try:
        return len(choice["logprobs"]["content"])
    except (KeyError, TypeError):
        return None
