"""Prometheus metrics. Labels are bounded: models that are served, outcomes and classes that are listed here.

What a request adds is counted in plain numbers, and put into Prometheus' form when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]  it has no types

from surplus.gateway.entries import Settled
from surplus.kit.errors import SurplusError
from surplus.kit.money import GRAINS_PER_MICRO, MICRO_PER_DOLLAR

_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_BOUNDS: Final = [floatToGoString(bound) for bound in (*_SECONDS, float("inf"))]
_CLASSES: Final = ("uncached", "cache_read", "cache_write", "output")
_GRAINS_PER_DOLLAR: Final = GRAINS_PER_MICRO * MICRO_PER_DOLLAR


class _Times:
    """A histogram of seconds: how many fell into each bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        seconds = max(seconds, 0.0)
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds


class _Tally:
    """What the requests to one model at one endpoint came to."""

    __slots__ = ("degraded", "duration", "first_token", "free", "grains", "outcomes", "tokens")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.duration = _Times()
        self.first_token = _Times()
        self.tokens = [0, 0, 0, 0]
        self.grains = 0
        self.free = 0
        self.degraded = 0

    def add(self, entry: Settled, grains: int) -> None:
        outcome = entry.outcome.value
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        began = entry.admitted.at
        self.duration.add(entry.ended_at - began)
        if entry.first_token_at is not None:
            self.first_token.add(entry.first_token_at - began)
        tokens = self.tokens
        tokens[0] += entry.uncached
        tokens[1] += entry.cache_read
        tokens[2] += entry.cache_write
        tokens[3] += entry.output
        self.degraded += entry.degraded
        if grains:
            self.grains += grains
        elif entry.uncached or entry.cache_read or entry.cache_write or entry.output:
            self.free += 1


class Metrics(Collector):
    """The data plane's metrics, on a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._registry = registry
        registry.register(self)
        self._refused = Counter(
            "surplus_refused", "Requests that were not admitted, by code", ("code",), registry=registry
        )

    def gauge(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is scraped."""
        Gauge(name, what, registry=self._registry).set_function(read)

    def refuse(self, error: SurplusError) -> None:
        """A request was not admitted."""
        self._refused.labels(error.code).inc()

    def settled(self, entry: Settled, grains: int) -> None:
        """A request has ended."""
        name = (entry.admitted.model, entry.admitted.endpoint)
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies[name] = _Tally()
        tally.add(entry, grains)

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        yield self._requests()
        yield self._histogram(
            "gen_ai_server_request_duration_seconds",
            "From admission to the end of the answer",
            lambda tally: tally.duration,
        )
        yield self._histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From admission to the first event of the answer",
            lambda tally: tally.first_token,
        )
        tokens = CounterMetricFamily("surplus_tokens", "Tokens metered, by class", labels=("model", "class"))
        cost = CounterMetricFamily("surplus_cost_dollars", "Cost of what was metered", labels=("model",))
        free = CounterMetricFamily(
            "surplus_zero_cost_requests", "Requests with tokens that cost nothing", labels=("model",)
        )
        degraded = CounterMetricFamily(
            "surplus_degraded_records", "Records whose usage was estimated or mended", labels=("model",)
        )
        for model, tallies in self._by_model():
            for place, kind in enumerate(_CLASSES):
                tokens.add_metric((model, kind), sum(tally.tokens[place] for tally in tallies))
            cost.add_metric((model,), sum(tally.grains for tally in tallies) / _GRAINS_PER_DOLLAR)
            free.add_metric((model,), sum(tally.free for tally in tallies))
            degraded.add_metric((model,), sum(tally.degraded for tally in tallies))
        yield from (tokens, cost, free, degraded)

    def _by_model(self) -> Iterator[tuple[str, list[_Tally]]]:
        tallies = list(self._tallies.items())  # requests go on while somebody asks
        for model in dict.fromkeys(model for (model, _), _ in tallies):
            yield model, [tally for (name, _), tally in tallies if name == model]

    def _requests(self) -> Metric:
        labels = ("model", "endpoint", "outcome")
        family = CounterMetricFamily(
            "surplus_requests", "Requests that were admitted, by how they ended", labels=labels
        )
        for name, tally in list(self._tallies.items()):
            for outcome, count in list(tally.outcomes.items()):
                family.add_metric((*name, outcome), count)
        return family

    def _histogram(self, name: str, what: str, times: Callable[[_Tally], _Times]) -> Metric:
        family = HistogramMetricFamily(name, what, labels=("model", "endpoint"))
        for labels, tally in list(self._tallies.items()):
            measured = times(tally)
            buckets = list(zip(_BOUNDS, accumulate(measured.counts), strict=True))
            family.add_metric(labels, buckets, measured.total)
        return family
