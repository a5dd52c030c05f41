"""The body that goes to an engine: the caller's fields, with the few that we answer for set by us."""

from typing import Final

import msgspec

from surplus.gateway.body import Body
from surplus.gateway.bounds import Bounds
from surplus.gateway.endpoints import Endpoint
from surplus.gateway.errors import BadBody
from surplus.serving.engines.dialects import Dialect
from surplus.serving.model import Deployment

_LOGPROBS: Final = {"chat.completions": b"true", "completions": b"1"}
_NO_LOGPROBS: Final = frozenset({b"null", b"false", b"0"})
_OUTPUT_LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""Every name that some engine takes an output limit under, on some endpoint."""


def sums_choices(dialect: Dialect, bounds: Bounds) -> bool:
    """True if the engine would report the usage of one choice, and there are more."""
    return dialect.per_choice and bounds.choices > 1


def upstream_body(body: Body, bounds: Bounds, endpoint: Endpoint, deployment: Deployment, dialect: Dialect) -> bytes:
    """The JSON to send. The output limit that was paid for is the one that is sent, under whatever name.

    Raises BadBody where the engine cannot be trusted to count what is asked.
    """
    changes: dict[str, bytes | None] = {name: None for name in dialect.drop if name in body.fields}
    changes["model"] = msgspec.json.encode(deployment.upstream_model)
    if endpoint.output_limits:
        _limit_output(changes, body, endpoint, deployment)
    if body.stream:
        changes.update(dialect.ask)
    if dialect.per_choice and bounds.inputs > 1 and not endpoint.embeddings:
        message = "the engine of this model answers one prompt per request; send the prompts one by one"
        raise BadBody(message, param="prompt")
    if sums_choices(dialect, bounds) and not body.stream and body.fields.get("logprobs", b"null") in _NO_LOGPROBS:
        changes["logprobs"] = _LOGPROBS[endpoint.name]
    return body.with_fields(changes)


def _limit_output(changes: dict[str, bytes | None], body: Body, endpoint: Endpoint, deployment: Deployment) -> None:
    """Send one limit. Engines prefer one name to another, and some know only the first, which ours all take."""
    changes.update({name: None for name in _OUTPUT_LIMITS if name in body.fields})
    given = [name for name in endpoint.output_limits if body.fields.get(name, b"null") != b"null"]
    if not given:
        changes[endpoint.output_limits[0]] = b"%d" % deployment.max_output
        return
    name = given[-1]  # the newer name decides, as in `Bounds`
    changes[endpoint.output_limits[0] if deployment.engine.owned else name] = body.fields[name]
