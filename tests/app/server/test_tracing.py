"""Spans of requests: of the caller's trace, with the route, and without what a deletion removes."""

import builtins
import json
import logging
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from app.server import logs, tracing
from app.settings import BadSettings, Settings
from tests.support.images import image
from tests.support.service import Service
from tests.support.workers import until

SCOPE = "head"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("app.main.tracing_of", lambda *_: tracing.Tracing(provider))
    return exporter


@pytest.fixture
def traced(spans: InMemorySpanExporter, serve: Callable[..., Service]) -> Service:
    assert not spans.get_finished_spans()
    return serve()


def the_one(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    """Return the one span of this name; it ends a moment after its request was answered."""

    def found() -> list[ReadableSpan]:
        return [each for each in spans.get_finished_spans() if each.name == name]

    until(found)
    (span,) = found()
    return span


def test_a_prediction_is_a_span_of_the_callers_trace_with_its_steps(traced, spans):
    traced.component({"cat": 2})
    headers = {"Content-Type": "image/png", "traceparent": PARENT, "X-Request-Id": "seven"}
    answer = traced.client.post("/v1/predictions", content=image("cat", 9), headers=headers)
    span = the_one(spans, "POST /v1/predictions")
    assert format(span.context.trace_id, "032x") == TRACE
    steps = {f"tangent.{name}": took for name, took in answer.json()["timing"].items()}
    assert steps.items() <= span.attributes.items()
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["tangent.request_id"] == "seven"


def test_a_span_holds_no_id_and_no_name(traced, spans):
    traced.client.get("/v1/datasets/ds_secret?after=secret")
    span = the_one(spans, "GET /v1/datasets/{dataset_id}")
    assert "secret" not in span.to_json()
    assert span.status.status_code is StatusCode.UNSET


def test_an_error_of_the_service_is_an_error_of_the_span(traced, spans, monkeypatch):
    monkeypatch.setattr("app.store.lists.datasets", lambda *_, **__: 1 / 0)
    assert traced.client.get("/v1/datasets").status_code == 500
    span = the_one(spans, "GET /v1/datasets")
    assert span.status.status_code is StatusCode.ERROR


def test_a_line_of_the_log_has_the_trace():
    provider = TracerProvider(shutdown_on_exit=False)
    with tracing.Tracing(provider).request([(b"traceparent", PARENT.encode())]):
        record = logging.LogRecord("app", logging.INFO, "", 1, "said", (), None)
        assert json.loads(logs.JsonLines("api").format(record))["trace_id"] == TRACE


def test_without_an_address_nothing_is_traced():
    assert tracing.tracing_of(Settings(), "1") is None


def test_without_the_extra_the_setting_is_refused(monkeypatch):
    load = builtins.__import__

    def missing(name, *given):
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return load(name, *given)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadSettings, match=r"pip install 'tangent-composer\[otel\]'"):
        tracing.tracing_of(Settings(traces_url="http://127.0.0.1:9/v1/traces"), "1")


def test_with_it_spans_go_to_the_collector_and_its_absence_disturbs_nobody():
    made = tracing.tracing_of(Settings(traces_url="http://127.0.0.1:9/v1/traces"), "1")
    with made.request([]) as span:
        tracing.describe(span, {"method": "GET", "route": "/livez", "status": 200})
    made._provider._active_span_processor.force_flush(1)


def test_the_text_of_an_exception_is_not_exported():
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with (
        pytest.raises(ValueError, match="secret"),
        tracing.Tracing(provider).request([]),
    ):
        raise ValueError("secret")
    (span,) = exporter.get_finished_spans()
    assert not span.events and "secret" not in span.to_json()
