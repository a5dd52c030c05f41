"""Parts that tests of the gateway are put together from: deployments, prices, bodies, journal entries."""

import json
from typing import Any

from hypothesis import settings

from surplus.billing.rating import TOKENS, Price, PriceSheet, TokenClass
from surplus.gateway.admission import Offer
from surplus.gateway.body import Body, parse
from surplus.gateway.bounds import Bounds
from surplus.gateway.entries import Admitted, Settled
from surplus.metering.model import Outcome
from surplus.serving.model import Deployment, EngineKind

NOW = 1_795_251_600.0  # 2026-11-21T09:00:00Z
TRIES = settings(deadline=None, max_examples=60)


def deployment(engine: EngineKind = EngineKind.OPENAI, **changes: Any) -> Deployment:
    """A model of 1000 tokens of context on an engine behind a URL, with some fields changed."""
    fields: dict[str, Any] = {
        "id": "dep_1",
        "model": "tiny",
        "engine": engine,
        "upstream_model": "tiny-upstream",
        "context": 1000,
        "max_output": 100,
        "sku": "tiny",
        "url": "http://127.0.0.1:9/v1",
        "template_tokens": 8,
    }
    return Deployment(**{**fields, **changes})


def sheet(
    uncached: int = 2,
    cache_read: int = 1,
    cache_write: int = 3,
    output: int = 8,
    *,
    sku: str = "tiny",
    version: str = "price_1",
) -> PriceSheet:
    """Prices in pico-dollars for a million tokens."""
    amounts = (uncached, cache_read, cache_write, output)
    prices = {name: Price(amount, TOKENS) for name, amount in zip(TokenClass, amounts, strict=True)}
    return PriceSheet(sku, version, 0.0, prices)


def dollars(uncached: int = 2, cache_read: int = 1, cache_write: int = 3, output: int = 8, **names: Any) -> PriceSheet:
    """Prices in whole micro-dollars a token, so that every charge is a whole number."""
    amounts = [amount * 10**12 for amount in (uncached, cache_read, cache_write, output)]
    return sheet(*amounts, **names)


def offer(engine: EngineKind = EngineKind.OPENAI, *, prices: PriceSheet | None = None, **changes: Any) -> Offer:
    return Offer(deployment(engine, **changes), prices or dollars())


def body(**fields: Any) -> Body:
    """A parsed body; it asks for the model "tiny" unless it says otherwise."""
    return parse(json.dumps({"model": "tiny", **fields}).encode())


def chat(**fields: Any) -> Body:
    """A parsed chat body."""
    return body(**{"messages": [{"role": "user", "content": "hello"}], **fields})


def bounds(size: int = 100, inputs: int = 1, choices: int = 1, output: int | None = 10) -> Bounds:
    return Bounds(size, inputs, choices, output)


def admitted(request: str = "req_1", **changes: Any) -> Admitted:
    fields: dict[str, Any] = {
        "request": request,
        "org": "org_1",
        "project": None,
        "key": "key_1",
        "model": "tiny",
        "deployment": "dep_1",
        "sku": "tiny",
        "price_version": "price_1",
        "endpoint": "chat.completions",
        "stream": True,
        "at": NOW,
    }
    return Admitted(**{**fields, **changes})


def settled(entry: Admitted, *, micro: int = 0, rest: int = 0, **changes: Any) -> Settled:
    """An entry that cost `micro` micro-dollars and `rest` grains."""
    fields: dict[str, Any] = {
        "outcome": Outcome.COMPLETED,
        "status": 200,
        "uncached": 10,
        "cache_read": 0,
        "cache_write": 0,
        "output": 5,
        "reasoning": 0,
        "waste_output": 0,
        "grains": str(micro * 9 * 10**12 + rest),
        "degraded": False,
        "first_token_at": NOW + 1,
        "ended_at": NOW + 2,
        "engine_request_id": None,
    }
    return Settled(admitted=entry, **{**fields, **changes})
