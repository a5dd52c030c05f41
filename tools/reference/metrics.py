"""The page of metrics, from what `/metrics` answers after one request was settled and one refused."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from surplus.gateway.endpoints import ENDPOINTS
from surplus.gateway.entries import Admitted, Settled
from surplus.kit.errors import SurplusError
from surplus.metering.model import Outcome
from tools.reference.markdown import code, document, table
from tools.reference.server import Built

_INTRO = """
`GET /metrics`, in Prometheus' text format: without a key from the server's own machine, with the operator's key from
elsewhere. `metrics.enabled = false` switches it off. A counter begins at 0 with each start of the server, so use `rate`
and `increase`; what has to be exact is in the ledger, not here. A metric with labels appears with its first request.
"""
_STAMP = "_created"
"""The end of names of series that only say when a counter began."""


async def page(server: Built) -> str:
    """docs/reference/metrics.md"""
    rows = [(code(scraped_name(one)), one.type, _labels(one), one.documentation) for one in await families(server)]
    labels = table(("label", "values"), [(code(name), values) for name, values in _VALUES.items()])
    return document("Metrics", _INTRO, table(("metric", "type", "labels", "what it counts"), rows), "## Labels", labels)


async def families(server: Built) -> list[Metric]:
    """Every metric of a server, with a sample for each label that it can have."""
    server.server.path.metrics.settled(_entry(), 0)
    server.server.path.metrics.refuse(SurplusError(""))
    answer = await server.here.get("/metrics")
    found = text_string_to_metric_families(answer.raise_for_status().text)
    return [one for one in found if not one.name.endswith(_STAMP)]


def scraped_name(metric: Metric) -> str:
    """The name to query: that of a counter ends in `_total`, those of a histogram have three endings."""
    match metric.type:
        case "counter":
            return f"{metric.name}_total"
        case "histogram":
            return f"{metric.name}_{{bucket,sum,count}}"
        case _:
            return metric.name


def _labels(metric: Metric) -> str:
    names = dict.fromkeys(name for sample in metric.samples for name in sample.labels if name != "le")
    return ", ".join(map(code, names))


def _codes(values: Iterable[str]) -> str:
    return ", ".join(map(code, values))


_VALUES = {
    "model": "the models that are served, by the name that customers use",
    "endpoint": _codes(endpoint.name for endpoint in ENDPOINTS.values()),
    "outcome": _codes(Outcome) + ": done, the caller left, the engine failed or refused, the server went down",
    "class": _codes(["uncached", "cache_read", "cache_write", "output"]) + "; every token is in exactly one",
    "code": "the code of the [error](errors.md) that the caller got",
}


def _entry() -> Settled:
    admitted = Admitted("", "", None, "", "", "", "", "", "", stream=False, at=0.0)
    counts = {"uncached": 0, "cache_read": 0, "cache_write": 0, "output": 0, "reasoning": 0, "waste_output": 0}
    return Settled(
        admitted,
        Outcome.COMPLETED,
        status=200,
        **counts,
        grains="0",
        degraded=False,
        first_token_at=None,
        ended_at=0.0,
        engine_request_id=None,
    )
