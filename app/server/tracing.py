"""Traces of requests, by OpenTelemetry, where the settings name a collector.

Each request is one span, of the trace that its `traceparent` names. A span has the route's template
and no path, name or query: what is exported outlives a deletion.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.settings import BadSettings, Settings

SERVICE = "tangent-composer"
CARRIED = (b"traceparent", b"tracestate")
ADVICE = "TANGENT_TRACES_URL needs OpenTelemetry: pip install 'tangent-composer[otel]'"


class Tracing:
    """Makes spans, and sends them in the background."""

    def __init__(self, provider: Any) -> None:
        """`provider` is a TracerProvider of OpenTelemetry's SDK, used here alone."""
        self._provider, self._tracer = provider, provider.get_tracer("tangent")

    @contextmanager
    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Span]:
        """Have a span for the request with these headers; it is the current one in the block."""
        carried = {name: value for name, value in headers if name in CARRIED}
        texts = {name.decode(): value.decode("latin-1") for name, value in carried.items()}
        parent = TraceContextTextMapPropagator().extract(texts)
        span = self._tracer.start_span("request", context=parent, kind=SpanKind.SERVER)
        # The text of an exception may name what a deletion removes.
        private = {"record_exception": False, "set_status_on_exception": False}
        with trace.use_span(span, end_on_exit=True, **private):
            yield span

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.shutdown()


def describe(span: Span, fields: Mapping[str, Any]) -> None:
    """Give the span what the access log says of its request."""
    span.update_name(f"{fields['method']} {fields['route']}")
    span.set_attribute("http.request.method", fields["method"])
    span.set_attribute("http.route", fields["route"])
    span.set_attribute("http.response.status_code", fields["status"])
    for name, value in fields.items():
        if name not in ("method", "route", "status"):
            span.set_attribute(f"tangent.{name}", value)
    if fields["status"] >= 500:
        span.set_status(trace.StatusCode.ERROR)


def tracing_of(settings: Settings, version: str) -> Tracing | None:
    """Return what traces requests, or None if the settings name no collector.

    Raises:
        BadSettings: OpenTelemetry is not installed.
    """
    if settings.traces_url is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise BadSettings(ADVICE) from None
    resource = Resource.create({"service.name": SERVICE, "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces_url)))
    return Tracing(provider)
