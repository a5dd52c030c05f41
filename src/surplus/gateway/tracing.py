"""Spans under OpenTelemetry's GenAI conventions: one SERVER span for the caller, one CLIENT span per upstream attempt.

Sampling is decided before a span is made, so an unsampled request costs a random number and nothing else. No prompt and
no answer is ever put on a span.
"""

import random
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from surplus.gateway.client import Client
from surplus.gateway.endpoints import Endpoint
from surplus.gateway.entries import Settled
from surplus.gateway.ports import Traced
from surplus.kit.errors import SurplusError
from surplus.serving.replicas import Replica

PROVIDER: Final = "surplus"


class Request:
    """The span of one request; without a span it does nothing."""

    def __init__(self, span: Span | None = None) -> None:
        self.span = span

    def failed(self, error: SurplusError) -> None:
        """The request was answered with this error."""
        if self.span is not None:
            self.span.set_attribute("error.type", error.code)
            self.span.set_attribute("http.response.status_code", error.status)
            if error.status >= 500:
                self.span.set_status(Status(StatusCode.ERROR))


class Attempt:
    """The span of one attempt upstream, from sending to the end of the answer; without a span it does nothing."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        """The engine answered with this status."""
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", status)

    def failed(self, error: SurplusError) -> None:
        """The attempt came to nothing."""
        if self._span is not None:
            self._span.set_attribute("error.type", error.code)
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """The attempt is over."""
        if self._span is not None:
            self._span.end()


_SILENT_REQUEST: Final = nullcontext(Request())
_SILENT_ATTEMPT: Final = Attempt()


class Tracer:
    """Makes spans for a share of the requests. Without an OpenTelemetry tracer it makes none."""

    def __init__(
        self, tracer: OtelTracer | None = None, *, ratio: float = 0.0, draw: Callable[[], float] = random.random
    ) -> None:
        self._tracer = tracer
        self._ratio = ratio
        self._draw = draw
        self._contexts: dict[str, Context] = {}
        self._live: dict[str, Span] = {}

    def request(self, client: Client, endpoint: Endpoint, request: str) -> AbstractContextManager[Request]:
        """The SERVER span of a request, a child of the caller's own span where it sent one."""
        if self._tracer is None or self._draw() >= self._ratio:
            return _SILENT_REQUEST
        return self._request(self._tracer, client, endpoint, request)

    @contextmanager
    def _request(self, tracer: OtelTracer, client: Client, endpoint: Endpoint, request: str) -> Generator[Request]:
        header = client.header(b"traceparent")
        parent = TraceContextTextMapPropagator().extract({"traceparent": header.decode("latin-1")} if header else {})
        attributes = {"http.request.method": "POST", "http.route": f"/v1{endpoint.path}", "surplus.request.id": request}
        with tracer.start_as_current_span(
            f"POST /v1{endpoint.path}", parent, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            self._contexts[request] = set_span_in_context(span)
            try:
                yield Request(span)
            finally:
                del self._contexts[request]
                self._live.pop(request, None)

    def attempt(self, traced: Traced, replica: Replica) -> Attempt:
        """The CLIENT span of one attempt; whoever gets it ends it."""
        context = self._contexts.get(traced.request)
        if self._tracer is None or context is None:
            return _SILENT_ATTEMPT
        operation = traced.endpoint.operation
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": traced.body.model,
            "gen_ai.response.model": replica.deployment.upstream_model,
            "gen_ai.request.stream": traced.body.stream,
            "server.address": replica.root_url,
            "surplus.deployment": replica.deployment.id,
        }
        name = f"{operation} {traced.body.model}"
        span = self._tracer.start_span(name, context, kind=SpanKind.CLIENT, attributes=attributes)
        self._live[traced.request] = span
        return Attempt(span)

    def settled(self, entry: Settled, grains: int) -> None:
        """Put what the request used on the span of its last attempt, if it has one that is still open."""
        span = self._live.get(entry.admitted.request) if self._live else None
        if span is None or not span.is_recording():
            return
        first, started = entry.first_token_at, entry.admitted.at
        span.set_attributes(
            {
                "gen_ai.usage.input_tokens": entry.usage.input,
                "gen_ai.usage.cache_read.input_tokens": entry.cache_read,
                "gen_ai.usage.output_tokens": entry.output,
                "surplus.outcome": entry.outcome.value,
                "surplus.cost.grains": str(grains),
            }
        )
        if first is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", max(0.0, first - started))
