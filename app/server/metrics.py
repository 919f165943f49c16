"""Prometheus metrics of one application, in registries of its own.

Where several processes answer, each counts in files of a folder that they share, and whichever is
asked adds all up: `PROMETHEUS_MULTIPROC_DIR` must name the folder when the process starts.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
IMAGES = (1, 2, 4, 8, 16, 32, 64)
MAX_KNOWN_LABELS = 512  # children of a metric that are found without a search
# name, attribute of Counts, text
GAUGES = (
    ("tangent_component_bytes", "component_bytes", "bytes of all component files"),
    (
        "tangent_training_queue_oldest_seconds",
        "queued_seconds",
        "waiting time of the oldest queued component",
    ),
    ("tangent_datasets", "datasets", "number of datasets"),
    ("tangent_dataset_images", "images", "number of images in all datasets"),
    ("tangent_workers", "workers", "training workers with a recent heartbeat"),
)


class Counts(Protocol):
    """The counts that the database provides, see app.store.counts."""

    @property
    def components(self) -> Mapping[str, int]: ...
    @property
    def trainings(self) -> Mapping[str, Any]: ...
    @property
    def receipts(self) -> int: ...
    @property
    def damaged(self) -> Mapping[str, int]: ...
    @property
    def passes(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def scrubbed_at(self) -> float: ...


class _CountsCollector(Collector):
    """Counts from the database, read at every scrape; only `up` if the database is down."""

    def __init__(self, read: Callable[[], Counts | None]) -> None:
        self.read = read

    def describe(self) -> Iterable[Metric]:
        return []  # no names to reserve, as finding them would take a read

    def collect(self) -> Iterable[Metric]:
        counts = self.read()
        up = 0 if counts is None else 1
        yield GaugeMetricFamily(
            "tangent_database_up",
            "1 if the database answers; 0 if it does not, and its counts are left out",
            up,
        )
        if counts is None:
            return
        for name, attribute, text in GAUGES:
            yield GaugeMetricFamily(name, text, getattr(counts, attribute))
        yield CounterMetricFamily(
            "tangent_receipts", "receipts in the ledger, one per deletion", counts.receipts
        )
        yield _damaged(counts.damaged)
        yield GaugeMetricFamily(
            "tangent_scrub_finished_timestamp_seconds",
            "when all had been read through for the last time, in seconds of Unix; 0: never",
            counts.scrubbed_at,
        )
        yield _components(counts.components)
        yield _passes(counts.passes)
        yield _trainings(counts.trainings)


class _Unavailable(Collector):
    """The number of spaces that did not open, asked for at every scrape."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "tangent_spaces_unavailable",
            "spaces that did not open here as they were made; GET /v1/spaces has the reasons",
            self._count(),
        )


def _components(counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(
        "tangent_components",
        "components by status; the number queued is the depth of the queue",
        labels=["status"],
    )
    for status, number in counts.items():
        family.add_metric([status], number)
    return family


def _passes(counts: Mapping[tuple[str, str], int]) -> Metric:
    family = GaugeMetricFamily(
        "tangent_jobs",
        "evaluations and batch predictions, by kind and status",
        labels=["kind", "status"],
    )
    for labels, number in counts.items():
        family.add_metric(labels, number)
    return family


def _damaged(counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(
        "tangent_damaged", "what is known to be damaged, by its kind", labels=["kind"]
    )
    for kind, number in counts.items():
        family.add_metric([kind], number)
    return family


def _trainings(outcomes: Mapping[str, Any]) -> Metric:
    # Not a counter: a deletion removes a component's training, and a rate would see a jump.
    family = GaugeHistogramMetricFamily(
        "tangent_training_duration_seconds",
        "time of the last training attempt of every existing component",
        labels=["outcome"],
    )
    for outcome, trainings in outcomes.items():
        buckets = [(str(bound), float(number)) for bound, number in trainings.within.items()]
        buckets.append(("+Inf", float(trainings.count)))
        family.add_metric([outcome], buckets, trainings.seconds)
    return family


class Metrics:
    """All metrics; no label holds an id, name or weight, as it would outlive a deletion."""

    def __init__(self, version: str = "0", shared: Path | None = None) -> None:
        """`shared` is the folder in which several processes count; None: this one is alone."""
        self.registry = CollectorRegistry()  # of what this process counts
        self._shared = shared
        self._whole = CollectorRegistry()  # of what any process says for all
        Info("tangent_build", "version of the running service", registry=self._whole).info(
            {"version": version}
        )
        self._add_http()
        self._add_answers()
        self.count_unavailable: Callable[[], int] = int  # the spaces that did not open here
        self.engine_text: Callable[[], str] = str  # the metrics of the engine
        self._whole.register(_Unavailable(lambda: self.count_unavailable()))

    def _add_http(self) -> None:
        self.requests = self._counter(
            "tangent_http_requests", "answered requests", "method", "route", "status"
        )
        self.request_seconds = self._histogram(
            "tangent_http_request_duration_seconds", "time to answer", SECONDS, "route"
        )
        self.refused_callers = self._counter(
            "tangent_refused_callers", "requests below /v1 without a caller, by reason", "code"
        )
        processes = Gauge(
            "tangent_api_processes",
            "processes that answer HTTP, or are about to",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        processes.set(1)
        self.in_progress = Gauge(
            "tangent_http_requests_in_progress",
            "open requests",
            multiprocess_mode="livesum",
            registry=self.registry,
        )

        # To find them by their labels takes longer than to count. So many are enough: other
        # requests are counted as well.
        self._requests_of = lru_cache(MAX_KNOWN_LABELS)(self.requests.labels)
        self._request_seconds_of = lru_cache(MAX_KNOWN_LABELS)(self.request_seconds.labels)

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request of this route, which took so long."""
        self._requests_of(method, route, str(status)).inc()
        self._request_seconds_of(route).observe(seconds)

    def _add_answers(self) -> None:
        self.predictions = self._counter("tangent_predictions", "images predicted", "outcome")
        self.prediction_seconds = self._histogram(
            "tangent_prediction_duration_seconds",
            "time from a prediction's body to its answer",
            SECONDS,
        )
        self.prediction_images = self._histogram(
            "tangent_prediction_images", "images of one prediction", IMAGES
        )
        self.deletion_seconds = self._histogram(
            "tangent_deletion_duration_seconds",
            "time of one deletion, including its waiting",
            SECONDS,
        )
        self.decode_seconds = self._histogram(
            "tangent_decode_seconds", "time to decode one request's images", SECONDS
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def register_counts(self, read: Callable[[], Counts | None]) -> None:
        """Register the function that reads the database's counts; it returns None if it is down."""
        self._whole.register(_CountsCollector(read))

    def text(self) -> bytes:
        """Return all metrics of all processes in Prometheus' text format."""
        counted = self.registry
        if self._shared is not None:
            counted = CollectorRegistry()
            MultiProcessCollector(counted, str(self._shared))
        texts = generate_latest(counted), generate_latest(self._whole), self.engine_text().encode()
        return b"".join(texts)
