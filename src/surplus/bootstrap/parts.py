"""Parts that are made from settings alone."""

import importlib
from collections.abc import Callable
from typing import Any, Final

from starlette.types import ASGIApp

from surplus import __version__
from surplus.gateway.dispatch import Patience
from surplus.gateway.tracing import Tracer
from surplus.serving.model import Deployment
from surplus.settings import Settings

CONNECT_S: Final = 5.0
WORKERS: Final = "Worker processes that run; 0 where one process does everything"
RESTARTS: Final = "Workers that ended and were replaced"


def reachable(settings: Settings) -> Callable[[Deployment], bool]:
    """Which engines a server of this role can reach: those in a process of ours are for the server that starts them."""
    return lambda deployment: settings.server.role != "gateway" or deployment.url is not None


def create_control_plane(**deps: Any) -> ASGIApp:
    """The application of the control plane; `deps` are the fields of `ApiDeps`.

    Loaded by name: its libraries are half of all, and a worker starts in half the time without.
    """
    api = importlib.import_module("surplus.api.app")
    return api.create_api(api.ApiDeps(**deps))


def patience(settings: Settings) -> Patience:
    """How often dispatch tries, and how long it waits."""
    gateway = settings.gateway
    return Patience(
        attempts=gateway.attempts,
        pause_s=gateway.retry_pause_s,
        pause_max_s=gateway.retry_pause_max_s,
        connect_s=CONNECT_S,
        first_event_s=gateway.first_event_timeout_s,
        idle_s=gateway.idle_timeout_s,
        request_s=gateway.request_timeout_s,
        drain_s=gateway.drain_upstream_s,
    )


def tracer_of(settings: Settings) -> tuple[Tracer, Any]:
    """A tracer that exports, loaded only where an endpoint is set: its libraries are as large as all the rest."""
    tracing = settings.tracing
    if not tracing.endpoint:
        return Tracer(), None
    exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    sdk = importlib.import_module("opentelemetry.sdk.trace")
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    resources = importlib.import_module("opentelemetry.sdk.resources")
    names = {"service.name": "surplus", "service.version": __version__}
    provider = sdk.TracerProvider(resource=resources.Resource.create(names))
    provider.add_span_processor(export.BatchSpanProcessor(exporter.OTLPSpanExporter(endpoint=tracing.endpoint)))
    return Tracer(provider.get_tracer("surplus"), ratio=tracing.sample_ratio), provider.shutdown
