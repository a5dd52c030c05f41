"""Not faults: what the model does, truthfully reported."""

from dataclasses import dataclass, replace

from tests.upstream.answers import Traits
from tests.upstream.behaviour import Behaviour


@dataclass(frozen=True)
class Answer(Behaviour):
    """The model's text is ``tokens`` long (per choice, reasoning not counted), unless the request's limit is lower."""

    tokens: int = 60

    def shape(self, traits: Traits) -> Traits:
        return replace(traits, tokens=self.tokens)


@dataclass(frozen=True)
class Cached(Behaviour):
    """``tokens`` of the prompt come from the prefix cache (at most all but the last one)."""

    tokens: int = 4

    def shape(self, traits: Traits) -> Traits:
        return replace(traits, cached=self.tokens)


@dataclass(frozen=True)
class Reasoning(Behaviour):
    """Chat: the model thinks for ``tokens`` before it speaks: ``reasoning_content`` deltas, counted as completion."""

    tokens: int = 5

    def shape(self, traits: Traits) -> Traits:
        return replace(traits, reasoning=self.tokens)


@dataclass(frozen=True)
class ContinuousUsage(Behaviour):
    """Cumulative usage in every chunk, asked for or not (vLLM's ``continuous_usage_stats``)."""

    def shape(self, traits: Traits) -> Traits:
        return replace(traits, continuous_usage=True)
