"""Prometheus metrics. Labels are bounded: models that are served, outcomes and classes that are listed here."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from surplus.gateway.entries import Settled
from surplus.kit.errors import SurplusError
from surplus.kit.money import GRAINS_PER_MICRO, MICRO_PER_DOLLAR

_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_DOLLARS_PER_GRAIN: Final = 1 / (GRAINS_PER_MICRO * MICRO_PER_DOLLAR)


class _PerModel:
    """The label children of one (model, endpoint, outcome), looked up once: a look-up costs more than the count."""

    def __init__(self, metrics: "Metrics", entry: Settled) -> None:
        admitted = entry.admitted
        names = (admitted.model, admitted.endpoint)
        self.requests = metrics.requests.labels(*names, entry.outcome.value)
        self.duration = metrics.duration.labels(*names)
        self.first_token = metrics.first_token.labels(*names)
        self.tokens = [
            metrics.tokens.labels(admitted.model, kind) for kind in ("uncached", "cache_read", "cache_write", "output")
        ]
        self.cost = metrics.cost.labels(admitted.model)
        self.free = metrics.free.labels(admitted.model)
        self.degraded = metrics.degraded.labels(admitted.model)


class Metrics:
    """The data plane's metrics, on a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        model = ("model", "endpoint")
        self._children: dict[tuple[str, str, str], _PerModel] = {}
        self.requests = Counter(
            "surplus_requests", "Requests that were admitted, by how they ended", (*model, "outcome"), registry=registry
        )
        self.refused = Counter(
            "surplus_refused", "Requests that were not admitted, by code", ("code",), registry=registry
        )
        self.duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From admission to the end of the answer",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From admission to the first event of the answer",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Counter("surplus_tokens", "Tokens metered, by class", ("model", "class"), registry=registry)
        self.cost = Counter("surplus_cost_dollars", "Cost of what was metered", ("model",), registry=registry)
        self.free = Counter(
            "surplus_zero_cost_requests", "Requests with tokens that cost nothing", ("model",), registry=registry
        )
        self.degraded = Counter(
            "surplus_degraded_records", "Records whose usage was estimated or mended", ("model",), registry=registry
        )
        self._registry = registry

    def gauge(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is scraped."""
        Gauge(name, what, registry=self._registry).set_function(read)

    def refuse(self, error: SurplusError) -> None:
        """A request was not admitted."""
        self.refused.labels(error.code).inc()

    def settled(self, entry: Settled, grains: int) -> None:
        """A request has ended."""
        admitted = entry.admitted
        name = (admitted.model, admitted.endpoint, entry.outcome.value)
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = _PerModel(self, entry)
        child.requests.inc()
        child.duration.observe(max(0.0, entry.ended_at - admitted.at))
        if entry.first_token_at is not None:
            child.first_token.observe(max(0.0, entry.first_token_at - admitted.at))
        counts = (entry.uncached, entry.cache_read, entry.cache_write, entry.output)
        for counter, count in zip(child.tokens, counts, strict=True):
            if count:
                counter.inc(count)
        if grains:
            child.cost.inc(grains * _DOLLARS_PER_GRAIN)
        elif any(counts):
            child.free.inc()
        if entry.degraded:
            child.degraded.inc()
