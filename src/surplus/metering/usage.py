"""Tokens in classes that do not overlap, and the one place where an engine's own count becomes ours."""

import math
from collections.abc import Mapping
from typing import Final, Self, cast

import msgspec

MAX_TOKENS: Final = 1_000_000_000
"""No request has more tokens of a kind; an engine that says so is not believed, and sums stay within 64 bits."""


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one request or of many, in classes that do not overlap: each token is in exactly one.

    Input is `uncached + cache_read + cache_write`. `reasoning` is a part of `output`, shown but never added to it.
    """

    uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        assert min(self.uncached, self.cache_read, self.cache_write, self.reasoning) >= 0
        assert self.reasoning <= self.output

    @property
    def input(self) -> int:
        """All input tokens, cached or not."""
        return self.uncached + self.cache_read + self.cache_write

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.uncached + other.uncached,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )

    @classmethod
    def from_openai(cls, usage: Mapping[str, object]) -> tuple[Self, bool]:
        """The `usage` object of an OpenAI-style answer in our classes, and whether it had to be mended.

        There `prompt_tokens` include cached and cache-written tokens, and `completion_tokens` include reasoning. What
        cannot be true is brought to the nearest count that can (never below 0, cached at most the prompt, ...) and
        flagged, as is a count that is missing; an explicit 0 is a count. Embeddings have no completion tokens.
        """
        prompt, completion, mended = _sides(usage)
        read, read_mended = _part(usage, "prompt_tokens_details", "cached_tokens", of=prompt)
        write, write_mended = _part(
            usage, "prompt_tokens_details", "cache_write_tokens", "created_cache_tokens", of=prompt - read
        )
        reasoning, reasoning_mended = _part(usage, "completion_tokens_details", "reasoning_tokens", of=completion)
        counted = cls(prompt - read - write, read, write, completion, reasoning)
        return counted, mended or read_mended or write_mended or reasoning_mended


def _count(value: object) -> tuple[int, bool]:
    """A count of tokens, and whether `value` had to be mended to be one."""
    if type(value) is int and 0 <= value <= MAX_TOKENS:  # nearly always, and this is asked six times a request
        return value, False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0, True
    if isinstance(value, float) and not math.isfinite(value):
        return 0, True
    count = min(max(int(value), 0), MAX_TOKENS)
    return count, isinstance(value, float) or count != value


def _given(value: object) -> tuple[int | None, bool]:
    return (None, False) if value is None else _count(value)


def _sides(usage: Mapping[str, object]) -> tuple[int, int, bool]:
    """Prompt and completion tokens, and whether anything about them or their total was wrong."""
    prompt, prompt_mended = _given(usage.get("prompt_tokens"))
    completion, completion_mended = _given(usage.get("completion_tokens"))
    total, total_mended = _given(usage.get("total_tokens"))
    mended = prompt_mended or completion_mended or total_mended
    if prompt is None:
        output = completion or 0
        return max((total or 0) - output, 0), output, True
    if completion is None:
        return prompt, max((total or 0) - prompt, 0), mended or total != prompt
    return prompt, completion, mended or total not in (None, prompt + completion)


def _part(usage: Mapping[str, object], group: str, *names: str, of: int) -> tuple[int, bool]:
    """The first given detail of `names`, at most `of`, and whether it had to be mended. No detail is 0 and no fault."""
    details = usage.get(group)
    if details is None:
        return 0, False
    if type(details) is not dict and not isinstance(details, Mapping):
        return 0, True
    values = cast("Mapping[str, object]", details)
    for name in names:
        value = values.get(name)
        if value is not None:
            count, mended = _count(value)
            return min(count, of), mended or count > of
    return 0, False
