"""Faults of the usage report. They change what is reported, never what ``seen.usage`` knows to be true.

A stream that was not asked for usage reports none, so there these faults change nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.upstream import shapes
from tests.upstream.behaviour import Behaviour
from tests.upstream.reply import Event, Json, Kind, Reply

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(frozen=True)
class NoUsage(Behaviour):
    """No usage anywhere, asked for or not."""

    def edit(self, reply: Reply) -> Reply:
        kept = [step for step in reply.steps if not (isinstance(step, Event) and step.kind is Kind.USAGE)]
        silent = reply.with_steps(*kept)
        return silent.map_payloads(lambda payload: {key: payload[key] for key in payload if key != "usage"})


@dataclass(frozen=True)
class ZeroUsage(Behaviour):
    """Usage is there and says zero everywhere."""

    def edit(self, reply: Reply) -> Reply:
        return _map_usage(reply, _zeroed)


@dataclass(frozen=True)
class NegativeUsage(Behaviour):
    """Prompt, completion and total are below zero."""

    def edit(self, reply: Reply) -> Reply:
        return _map_usage(reply, lambda usage: {**usage, **{key: -usage[key] for key in _COUNTS if key in usage}})


@dataclass(frozen=True)
class CachedAbovePrompt(Behaviour):
    """More cached tokens than the prompt has, by ``extra``."""

    extra: int = 10

    def edit(self, reply: Reply) -> Reply:
        def lie(usage: Json) -> Json:
            return {**usage, "prompt_tokens_details": {"cached_tokens": usage["prompt_tokens"] + self.extra}}

        return _map_usage(reply, lie)


@dataclass(frozen=True)
class UsageAboveLimit(Behaviour):
    """Completion tokens above the limit asked (above the truth, where none was asked), by ``extra``."""

    extra: int = 100

    def edit(self, reply: Reply) -> Reply:
        limit = shapes.output_limit(reply.request)

        def lie(usage: Json) -> Json:
            completion = (usage["completion_tokens"] if limit is None else limit) + self.extra
            return {**usage, "completion_tokens": completion, "total_tokens": usage["prompt_tokens"] + completion}

        return _map_usage(reply, lie)


@dataclass(frozen=True)
class NullUsageDetails(Behaviour):
    """The two details objects are null, as vLLM sends them by default."""

    def edit(self, reply: Reply) -> Reply:
        nothing = {"prompt_tokens_details": None, "completion_tokens_details": None}
        return _map_usage(reply, lambda usage: {**usage, **nothing})


@dataclass(frozen=True)
class UsageOnFinish(Behaviour):
    """Usage rides on the last chunk that has choices, and no chunk of its own follows."""

    def edit(self, reply: Reply) -> Reply:
        events = [step for step in reply.steps if isinstance(step, Event)]
        reports = [event.payload["usage"] for event in events if event.kind is Kind.USAGE]
        if not reports:
            return reply
        last = [event for event in events if event.kind is Kind.FINISH][-1]
        loaded = replace(last, payload={**last.payload, "usage": reports[0]})
        return reply.with_steps(*(loaded if step is last else step for step in reply.steps)).without(Kind.USAGE)


def _zeroed(usage: Json) -> Json:
    return {key: _zeroed(value) if isinstance(value, dict) else 0 for key, value in usage.items()}


def _map_usage(reply: Reply, change: Callable[[Json], Json]) -> Reply:
    def edit(payload: Json) -> Json:
        usage = payload.get("usage")
        return payload if usage is None else {**payload, "usage": change(usage)}

    return reply.map_payloads(edit)
