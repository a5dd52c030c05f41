"""Deployments: models on engines."""

from typing import Annotated, Literal

from pydantic import Field

from surplus.wire.base import Answer, Instant, Name, Request

EngineName = Literal["llamacpp", "vllm", "sglang", "llama-server", "openai"]
Place = Annotated[str, Field(max_length=4000)]


class DeploymentRequest(Request):
    """A new deployment. `path` is a GGUF file (llamacpp), `url` a base URL that ends in /v1 (all others).

    A key is never sent: `key_env` or `key_file` says where the server finds it.
    """

    model: Name
    engine: EngineName
    context: Annotated[int, Field(description="Tokens that a sequence may have, input and output together.")]
    id: Name | None = None
    path: Place | None = None
    url: Place | None = None
    key_env: Name | None = None
    key_file: Place | None = None
    upstream_model: Annotated[Name | None, Field(description="What the engine calls the model.")] = None
    max_output: Annotated[int | None, Field(description="Output tokens where a caller gives no limit.")] = None
    template_tokens: Annotated[int, Field(description="What the chat template adds to a prompt, at most.")] = 64
    slots: Annotated[int, Field(description="Sequences that a replica takes at once.")] = 4
    replicas: int = 1
    priority: Annotated[int, Field(description="Lower is preferred; the rest are fallbacks.")] = 0
    embeddings: bool = False
    sku: Annotated[Name | None, Field(description="Whose prices it is sold at; left out: the model's.")] = None


class Deployment(Answer):
    """A deployment. It never changes, but for `draining`."""

    id: str
    model: str
    engine: EngineName
    path: str | None
    url: str | None
    key_env: str | None
    key_file: str | None
    upstream_model: str
    context: int
    max_output: int
    template_tokens: int
    slots: int
    replicas: int
    priority: int
    embeddings: bool
    sku: str
    draining: bool
    created_at: Instant


class Replica(Answer):
    """One running engine. `error` is its last failure; `breaker` says what may be sent to it."""

    id: str
    deployment: str
    model: str
    state: Literal["starting", "warming", "ready", "backoff", "draining", "stopped"]
    in_flight: int
    breaker: Literal["closed", "open", "half-open"]
    restarts: int
    error: str | None
