"""Prometheus metrics of an engine, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH = (1, 2, 4, 8, 16, 32, 64)


class EngineMetrics:
    """All metrics; no label holds an id, name or weight, as it would outlive a deletion."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.batch = self._histogram(
            "tangent_inference_batch_size", "images of one forward pass", BATCH
        )
        self.batch_compositions = self._histogram(
            "tangent_inference_batch_compositions", "compositions in one forward pass", BATCH
        )
        self.queue_seconds = self._histogram(
            "tangent_inference_queue_seconds", "time that a request's images wait", SECONDS
        )
        self.forward_seconds = self._histogram(
            "tangent_inference_forward_seconds", "time of one forward pass", SECONDS
        )
        self.cache_hits = self._counter(
            "tangent_composition_cache_hits", "composed deltas found in memory"
        )
        self.cache_misses = self._counter(
            "tangent_composition_cache_misses", "composed deltas made from their components"
        )
        self.cache_evictions = self._counter(
            "tangent_composition_cache_evictions",
            "composed deltas dropped to make room or after a deletion",
        )

    def show_waiting(self, count: Callable[[], int]) -> None:
        """Show the number of images that wait, as this function counts them."""
        waiting = Gauge(
            "tangent_inference_waiting_images",
            "images that wait for a forward pass",
            registry=self._registry,
        )
        waiting.set_function(count)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self._registry)
