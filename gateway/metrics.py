"""What Prometheus scrapes at `/metrics`. Counters and histograms are fed on the way; gauges are read when scraped.

Labels come from versions that are loaded, never from requests, so that nobody can make them grow.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

_LATENCY_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


MIRRORED = ("answered", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class VersionMetrics:
    """Bound to one model and version, because looking labels up costs more than observing."""

    latency: Callable[[float], None]
    rows: Callable[[float], None]
    predictions: Callable[[float], None]


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("model", "version")
        self._latency = Histogram(
            "oppen_gateway_request_duration_seconds",
            "Time from the request's body to its answer, by the version that served it",
            labels,
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._rows = Histogram(
            "oppen_gateway_batch_rows", "Rows computed together", labels, buckets=_ROWS, registry=self.registry
        )
        self._predictions = Counter("oppen_gateway_predictions", "Rows answered", labels, registry=self.registry)
        self._errors = Counter(
            "oppen_gateway_errors",
            "Requests that were not answered with a prediction, by kind; the model is empty where it is not served",
            ("model", "kind"),
            registry=self.registry,
        )
        self._mirrored = Counter(
            "oppen_gateway_mirrored",
            "Rows of requests copied to a shadow: answered, failed, or dropped because there was no room",
            ("model", "version", "outcome"),
            registry=self.registry,
        )
        self._labels = Counter("oppen_gateway_labels", "Labels taken", ("model",), registry=self.registry)

    def of(self, model: str, version: str) -> VersionMetrics:
        return VersionMetrics(
            self._latency.labels(model, version).observe,
            self._rows.labels(model, version).observe,
            self._predictions.labels(model, version).inc,
        )

    def mirrored(self, model: str, version: str) -> Callable[[str, int], None]:
        """Count rows by what became of them."""
        counters = {outcome: self._mirrored.labels(model, version, outcome) for outcome in MIRRORED}
        return lambda outcome, rows: counters[outcome].inc(rows)

    def error(self, model: str, kind: str) -> None:
        self._errors.labels(model, kind).inc()

    def labelled(self, model: str, count: int) -> None:
        self._labels.labels(model).inc(count)

    def read(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask `source` at every scrape."""
        self.registry.register(_Reading(source))


class _Reading:
    def __init__(self, source: Callable[[], Iterable[Metric]]) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        yield from self._source()

    def describe(self) -> list[Metric]:
        """Empty, so that registering does not read."""
        return []


def gauge(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(f"oppen_gateway_{name}", text, labels=labels)
    for row, value in values:
        family.add_metric(row, value)
    return family


def counter(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(f"oppen_gateway_{name}", text, labels=labels)
    for row, value in values:
        family.add_metric(row, value)
    return family
