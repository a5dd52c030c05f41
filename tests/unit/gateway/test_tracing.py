"""Spans under the GenAI conventions, taken from a real OpenTelemetry SDK."""

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from surplus.gateway.endpoints import ENDPOINTS
from surplus.gateway.errors import UpstreamBroken
from surplus.gateway.tracing import Tracer
from tests.unit.gateway.parts import admitted, settled

CHAT = ENDPOINTS["/chat/completions"]
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def __call__(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Spans:
    return Spans()


def client(traceparent: str | None = None) -> Any:
    headers = {b"traceparent": traceparent.encode()} if traceparent else {}
    return SimpleNamespace(header=headers.get)


def traced(request: str) -> Any:
    return SimpleNamespace(request=request, endpoint=CHAT, body=SimpleNamespace(model="tiny", stream=True))


def replica() -> Any:
    return SimpleNamespace(
        root_url="http://127.0.0.1:1", deployment=SimpleNamespace(id="dep_1", upstream_model="tiny-7b")
    )


def test_a_request_is_a_server_span_with_a_client_span_for_each_attempt(spans: Spans) -> None:
    tracer = Tracer(spans.tracer, ratio=1.0)
    with tracer.request(client(CALLER), CHAT, "req_1"):
        first = tracer.attempt(traced("req_1"), replica())
        first.answered(502)
        first.failed(UpstreamBroken("no"))
        first.end()
        second = tracer.attempt(traced("req_1"), replica())
        second.answered(200)
        tracer.settled(settled(admitted("req_1")), 5)
        second.end()
    bad, good, server = spans()
    assert (server.kind, server.name) == (SpanKind.SERVER, "POST /v1/chat/completions")
    assert server.parent is not None
    assert f"{server.parent.trace_id:032x}" == CALLER.split("-")[1]
    assert [span.kind for span in (bad, good)] == [SpanKind.CLIENT, SpanKind.CLIENT]
    assert {span.parent.span_id for span in (bad, good) if span.parent} == {server.context.span_id}
    assert (good.name, good.attributes["gen_ai.operation.name"]) == ("chat tiny", "chat")
    assert good.attributes["gen_ai.request.model"] == "tiny"
    assert bad.attributes["error.type"] == "upstream_error"
    assert bad.status.status_code is StatusCode.ERROR
    assert good.status.status_code is StatusCode.UNSET


def test_the_last_attempt_says_what_was_used(spans: Spans) -> None:
    tracer = Tracer(spans.tracer, ratio=1.0)
    entry = settled(admitted("req_1"))
    with tracer.request(client(), CHAT, "req_1"):
        attempt = tracer.attempt(traced("req_1"), replica())
        tracer.settled(entry, 7)
        attempt.end()
    used = spans()[0].attributes
    assert used["gen_ai.usage.input_tokens"] == entry.usage.input
    assert used["gen_ai.usage.output_tokens"] == entry.usage.output
    assert used["surplus.cost.grains"] == "7"
    tracer.settled(entry, 7)  # long after: nothing is kept of a request that is over
    assert len(spans()) == 2


def test_only_the_drawn_share_is_traced(spans: Spans) -> None:
    draws = iter([0.09, 0.1, 0.99])
    tracer = Tracer(spans.tracer, ratio=0.1, draw=lambda: next(draws))
    for number in range(3):
        with tracer.request(client(), CHAT, f"req_{number}"):
            tracer.attempt(traced(f"req_{number}"), replica()).end()
    assert len(spans()) == 2
    assert {span.attributes.get("surplus.request.id") for span in spans()} == {None, "req_0"}


def test_nothing_of_a_prompt_is_on_a_span(spans: Spans) -> None:
    tracer = Tracer(spans.tracer, ratio=1.0)
    with tracer.request(client(), CHAT, "req_1"):
        tracer.attempt(traced("req_1"), replica()).end()
    names = {name for span in spans() for name in span.attributes or {}}
    assert not {name for name in names if "message" in name or "instruction" in name or "definition" in name}
