"""Prometheus metrics of one application, in a registry of its own."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH = (1, 2, 4, 8, 16, 32, 64)
STATUSES = ("queued", "training", "ready", "failed", "cancelled")


class _Read(Collector):
    """A gauge by one label, read from its source when Prometheus asks."""

    def __init__(
        self, name: str, text: str, label: str, read: Callable[[], dict[str, float]]
    ) -> None:
        self.name, self.text, self.label, self.read = name, text, label, read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(self.name, self.text, labels=[self.label])
        for value, number in self.read().items():
            family.add_metric([value], number)
        yield family

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [GaugeMetricFamily(self.name, self.text, labels=[self.label])]


class Metrics:
    """What is counted; no label carries an id, name or weight, as it would outlive a deletion."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "tangent_http_requests", "answered requests", "method", "route", "status"
        )
        self.request_seconds = self._histogram(
            "tangent_http_request_duration_seconds", "time to answer", SECONDS, "route"
        )
        self.in_progress = Gauge(
            "tangent_http_requests_in_progress", "open requests", registry=self.registry
        )
        self.predictions = self._counter("tangent_predictions", "images predicted", "outcome")
        self.batch = self._histogram(
            "tangent_inference_batch_size", "images of one forward pass", BATCH
        )
        self.forward_seconds = self._histogram(
            "tangent_inference_forward_seconds", "time of one forward pass", SECONDS
        )
        self.decode_seconds = self._histogram(
            "tangent_decode_seconds", "time to decode one request's images", SECONDS
        )
        self.cache_hits = self._counter(
            "tangent_composition_cache_hits", "composed deltas found in memory"
        )
        self.cache_misses = self._counter(
            "tangent_composition_cache_misses", "composed deltas made from their components"
        )
        self.cache_evictions = self._counter(
            "tangent_composition_cache_evictions", "composed deltas dropped for room or a deletion"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def count_components(self, read: Callable[[], dict[str, int]]) -> None:
        """Serve `tangent_components{status}` from this function, every status present."""

        def all_statuses() -> dict[str, float]:
            found = read()
            return {status: found.get(status, 0) for status in STATUSES}

        self.registry.register(
            _Read("tangent_components", "components by status", "status", all_statuses)
        )

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
