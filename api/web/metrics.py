"""What the service tells Prometheus: requests and alerts are counted as they pass, states are read when scraped."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from api.store.records import ApprovalRecord, IncidentRecord, RunRecord
from api.web.services import Services
from api.work.admission import Accepted
from api.work.chores import KINDS, Chore
from tools.errors import PortError

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class _ChoreFailures(Collector):
    """Chores count for themselves, since they run also where nobody scrapes."""

    def __init__(self) -> None:
        self.chores: Sequence[Chore[Any]] = ()

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "oppen_chore_failures", "Tries at a background chore that did not succeed.", labels=("chore", "kind")
        )
        for chore in self.chores:
            for kind in KINDS:
                family.add_metric((chore.name, kind), chore.failures[kind])
        yield family


class _Counted(Collector):
    """What is counted elsewhere, by one label."""

    def __init__(self, name: str, documentation: str, label: str) -> None:
        self._family = name, documentation, (label,)
        self.counts: Mapping[str, int] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        name, documentation, labels = self._family
        family = CounterMetricFamily(name, documentation, labels=labels)
        for value, count in self.counts.items():
            family.add_metric((value,), count)
        yield family


class Metrics:
    """One registry per application, not per process, so that two of them do not count into each other."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "oppen_http_requests_total", "Answers by route and status.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "oppen_http_request_seconds", "Time to the answer's first byte.", ("route",), registry=registry
        )
        self._alerts = Counter("oppen_alerts_total", "Alerts that were taken in.", ("source", "outcome"), registry=registry)
        self._truncated = Counter(
            "oppen_alerts_truncated_total", "Alerts that the sender says it left out.", ("source",), registry=registry
        )
        self._refused_keys = Counter("oppen_refused_keys_total", "API keys that did not hold.", registry=registry)
        self._incidents = Gauge("oppen_incidents", "Incidents by status.", ("status",), registry=registry)
        self._runs = Gauge("oppen_runs", "Runs by status.", ("status",), registry=registry)
        self._pending = Gauge("oppen_approvals_pending", "Questions that wait for a person.", registry=registry)
        self._lag_segments = Gauge(
            "oppen_predictions_lag_segments", "Complete segments that are not in the store yet.", registry=registry
        )
        self._lag_bytes = Gauge("oppen_predictions_lag_bytes", "Their size.", registry=registry)
        self._chores = _ChoreFailures()
        registry.register(self._chores)
        self._dropped = _Counted("oppen_rows_dropped", "Rows that had served their time.", "kind")
        registry.register(self._dropped)
        self._retried = _Counted("oppen_run_retries", "Moves of runs that did not succeed and are tried again.", "event")
        registry.register(self._retried)
        self._up = Gauge("oppen_source_up", "Whether the last scrape could read it.", ("source",), registry=registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method if method in _METHODS else "(other)", status).inc()
        self._seconds.labels(route).observe(seconds)

    def delivered(self, source: str, accepted: Accepted, truncated: int) -> None:
        for outcome in ("new", "repeated", "resolved"):
            self._alerts.labels(source, outcome).inc(getattr(accepted, outcome))
        self._truncated.labels(source).inc(truncated)

    def refused_key(self) -> None:
        self._refused_keys.inc()

    async def expose(self, needs: Services) -> bytes:
        """In Prometheus' text format. What cannot be read is left out and says so: the rest is needed most just then."""
        for source, read in (("database", self._read_states), ("predictions", self._read_lag)):
            try:
                await read(needs)
            except PortError:
                self._up.labels(source).set(0)
            else:
                self._up.labels(source).set(1)
        self._chores.chores, self._dropped.counts, self._retried.counts = needs.chores, needs.dropped, needs.retried
        return generate_latest(self._registry)

    async def _read_states(self, needs: Services) -> None:
        self._incidents.clear()
        self._runs.clear()
        async with needs.database.read() as session:
            for gauge, column in ((self._incidents, IncidentRecord.status), (self._runs, RunRecord.status)):
                for status, count in await session.execute(select(column, func.count()).group_by(column)):
                    gauge.labels(status).set(count)
            waiting = select(func.count()).select_from(ApprovalRecord).where(ApprovalRecord.status == "pending")
            self._pending.set(await session.scalar(waiting) or 0)

    async def _read_lag(self, needs: Services) -> None:
        lag = await needs.lag()
        self._lag_segments.set(lag.segments)
        self._lag_bytes.set(lag.bytes)
