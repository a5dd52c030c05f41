"""The endpoints of the data plane that reach a model. All go the one path; a description is all that differs.

An endpoint that can reach a model exists only here, with its bounds: there is no way to add one that is not metered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from surplus.gateway import bounds
from surplus.gateway.body import Body
from surplus.gateway.bounds import Bounds


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`operation` is the name in the GenAI conventions of OpenTelemetry; `output_limits` are the body's fields that
    limit the output, the one that is injected first.
    """

    name: str
    path: str
    operation: str
    bounds: Callable[[Body], Bounds]
    streams: bool
    embeddings: bool
    output_limits: tuple[str, ...]


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint(
            "chat.completions",
            "/chat/completions",
            "chat",
            bounds.of_chat,
            streams=True,
            embeddings=False,
            output_limits=("max_tokens", "max_completion_tokens"),
        ),
        Endpoint(
            "completions",
            "/completions",
            "text_completion",
            bounds.of_completion,
            streams=True,
            embeddings=False,
            output_limits=("max_tokens",),
        ),
        Endpoint(
            "embeddings",
            "/embeddings",
            "embeddings",
            bounds.of_embedding,
            streams=False,
            embeddings=True,
            output_limits=(),
        ),
    )
}
