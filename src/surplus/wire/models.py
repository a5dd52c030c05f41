"""Models: what customers name in a request."""

from pydantic import Field

from surplus.wire.base import Answer
from surplus.wire.prices import Price


class Model(Answer):
    """A model that has a deployment. Without a price it is not sold."""

    id: str
    ready: bool
    context: int
    embeddings: bool
    deployments: int = Field(description="How many deployments serve it.")
    price: Price | None
