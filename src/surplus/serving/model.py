"""What a deployment is, and which states a replica can be in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from surplus.serving.errors import IllegalTransition


class EngineKind(StrEnum):
    """What answers: our own process, one of our own engines behind a URL, or another provider."""

    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA_SERVER = "llama-server"
    OPENAI = "openai"

    @property
    def owned(self) -> bool:
        """Whether it runs on our accelerators: aborting a request saves our money, and `/tokenize` counts for us."""
        return self is not EngineKind.OPENAI

    @property
    def embedded(self) -> bool:
        """Whether we start and stop its process ourselves."""
        return self is EngineKind.LLAMACPP


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model on an engine. It never changes, but for `draining`: another engine or limit is another deployment.

    `path` is a GGUF file (embedded engines), `url` a base URL that ends in `/v1` (all others). `context` and
    `max_output` are tokens; `max_output` is sent where a caller gives no limit. `template_tokens` bounds what the chat
    template adds to a prompt. `sku` names the price sheet. `priority`: lower first, the rest are fallbacks. `replicas`
    run now, between `min_replicas` and `max_replicas`; each takes `slots` sequences at once.
    """

    id: str
    model: str
    engine: EngineKind
    upstream_model: str
    context: int
    max_output: int
    sku: str
    path: str | None = None
    url: str | None = None
    key_env: str | None = None
    key_file: str | None = None
    template_tokens: int = 64
    priority: int = 0
    replicas: int = 1
    min_replicas: int = 1
    max_replicas: int = 1
    slots: int = 4
    embeddings: bool = False
    draining: bool = False
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a caller may know of a model. `context` is that of the deployment that is preferred."""

    id: str
    created: float
    context: int
    embeddings: bool
    ready: bool


class ReplicaState(StrEnum):
    """Where a replica is in its life. Only READY takes requests."""

    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    BACKOFF = "backoff"
    DRAINING = "draining"
    STOPPED = "stopped"


class ReplicaEvent(StrEnum):
    """What can happen to a replica."""

    STARTED = "started"
    WARMED = "warmed"
    FAILED = "failed"
    RETRIED = "retried"
    DRAINED = "drained"
    ENDED = "ended"


_S, _E = ReplicaState, ReplicaEvent
TRANSITIONS: Final[Mapping[tuple[ReplicaState, ReplicaEvent], ReplicaState]] = {
    (_S.STARTING, _E.STARTED): _S.WARMING,
    (_S.STARTING, _E.FAILED): _S.BACKOFF,
    (_S.STARTING, _E.DRAINED): _S.DRAINING,
    (_S.WARMING, _E.WARMED): _S.READY,
    (_S.WARMING, _E.FAILED): _S.BACKOFF,
    (_S.WARMING, _E.DRAINED): _S.DRAINING,
    (_S.READY, _E.FAILED): _S.BACKOFF,
    (_S.READY, _E.DRAINED): _S.DRAINING,
    (_S.BACKOFF, _E.RETRIED): _S.STARTING,
    (_S.BACKOFF, _E.DRAINED): _S.DRAINING,
    (_S.DRAINING, _E.ENDED): _S.STOPPED,
}
"""Every legal step; a pair that is not here cannot happen."""


def advance(state: ReplicaState, event: ReplicaEvent) -> ReplicaState:
    """The state after `event`. Raises IllegalTransition for a pair that TRANSITIONS does not name."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise IllegalTransition(
            f"a replica that is {state} cannot be {event}; this is a fault of ours, please report it"
        )
    return following
