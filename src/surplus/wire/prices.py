"""Prices: dollars per million tokens, from an instant on, for good."""

from typing import Annotated

from pydantic import Field

from surplus.wire.base import Answer, DollarsPerMillion, Instant, Request


class PriceRequest(Request):
    """Prices of a model (its sku), from now or a later instant on. Those of the caches default to the input's."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$")]
    input: DollarsPerMillion
    output: DollarsPerMillion
    cache_read: DollarsPerMillion | None = None
    cache_write: DollarsPerMillion | None = None
    effective_from: Annotated[Instant | None, Field(description="Left out: now.")] = None
    force: Annotated[bool, Field(description="Publish a price that is implausibly high.")] = False


class Price(Answer):
    """One published version of a model's prices; it holds until the next one begins."""

    model: str
    version: str
    effective_from: Instant
    currency: str
    input: DollarsPerMillion
    output: DollarsPerMillion
    cache_read: DollarsPerMillion
    cache_write: DollarsPerMillion
