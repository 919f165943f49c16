"""Prometheus metrics of one application, in a registry of its own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH = (1, 2, 4, 8, 16, 32, 64)
# name, attribute of Inventory, text
GAUGES = (
    ("tangent_component_bytes", "component_bytes", "bytes of all component files"),
    (
        "tangent_training_queue_oldest_seconds",
        "queued_seconds",
        "time that the oldest queued component has waited",
    ),
    ("tangent_datasets", "datasets", "datasets held"),
    ("tangent_dataset_images", "images", "images held, of all datasets"),
    ("tangent_workers", "workers", "training workers that gave a sign of life lately"),
)


class Inventory(Protocol):
    """What the database is asked for, see app.store.counts."""

    @property
    def components(self) -> Mapping[str, int]: ...
    @property
    def trainings(self) -> Mapping[str, Any]: ...
    @property
    def receipts(self) -> int: ...


class _Held(Collector):
    """What the database holds, read when Prometheus asks; nothing but `up` if it is down."""

    def __init__(self, read: Callable[[], Inventory | None]) -> None:
        self.read = read

    def describe(self) -> Iterable[Metric]:
        return []  # no names to reserve: to find them out, the registry would read

    def collect(self) -> Iterable[Metric]:
        found = self.read()
        up = 0 if found is None else 1
        yield GaugeMetricFamily(
            "tangent_database_up", "whether the database answers; 0: what it holds is left out", up
        )
        if found is None:
            return
        for name, attribute, text in GAUGES:
            yield GaugeMetricFamily(name, text, getattr(found, attribute))
        yield CounterMetricFamily(
            "tangent_receipts", "receipts in the ledger, one a deletion", found.receipts
        )
        yield _components(found.components)
        yield _trainings(found.trainings)


def _components(counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(
        "tangent_components",
        "components by status; the queued ones are the queue's depth",
        labels=["status"],
    )
    for status, number in counts.items():
        family.add_metric([status], number)
    return family


def _trainings(found: Mapping[str, Any]) -> Metric:
    # No counter: a deletion takes the component's training out, which a rate would take for a jump.
    family = GaugeHistogramMetricFamily(
        "tangent_training_duration_seconds",
        "time of a training's last attempt, of the components there are",
        labels=["outcome"],
    )
    for outcome, trainings in found.items():
        buckets = [(str(bound), float(number)) for bound, number in trainings.within.items()]
        buckets.append(("+Inf", float(trainings.count)))
        family.add_metric([outcome], buckets, trainings.seconds)
    return family


class Metrics:
    """What is counted; no label carries an id, name or weight, as it would outlive a deletion."""

    def __init__(self, version: str = "0") -> None:
        self.registry = CollectorRegistry()
        Info("tangent_build", "what runs here", registry=self.registry).info({"version": version})
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
        self.prediction_seconds = self._histogram(
            "tangent_prediction_duration_seconds",
            "time from a prediction's body to answer",
            SECONDS,
        )
        self.prediction_images = self._histogram(
            "tangent_prediction_images", "images of one prediction", BATCH
        )
        self.deletion_seconds = self._histogram(
            "tangent_deletion_duration_seconds",
            "time of one deletion, its waiting included",
            SECONDS,
        )
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

    def count_held(self, read: Callable[[], Inventory | None]) -> None:
        """Serve what the database holds from this function, which gives None if it is down."""
        self.registry.register(_Held(read))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
